package config

import (
	"io/fs"
	"testing"
	"time"
)

func num(s string) *node     { return &node{kind: kNumber, text: s, src: &source{}} }
func jsonNum(s string) *node { return &node{kind: kNumber, text: s, src: &source{json: true}} }

func TestDurations(t *testing.T) {
	bad := time.Duration(-1)
	for _, tt := range []struct {
		n    *node
		want time.Duration
	}{
		{num("30"), 30 * time.Second}, {num("0"), 0}, {num("1.5"), 1500 * time.Millisecond}, {jsonNum("300"), 5 * time.Minute},
		{text("30"), 30 * time.Second}, {text("30s"), 30 * time.Second}, {text("1h"), time.Hour}, {text("1h30m"), 90 * time.Minute},
		{text("2d"), 48 * time.Hour}, {text("500ms"), 500 * time.Millisecond}, {text(" 5m "), 5 * time.Minute}, {text(""), 0}, {text("010"), 10 * time.Second},
		{text("-5s"), bad}, {num("-5"), bad}, {text("1.5"), bad}, {text("5 minutes"), bad}, {text("d"), bad}, {text("s"), bad},
		{text("9999999999999"), bad}, {num("1e300"), bad}, {num("-1e300"), bad}, {text("99999999999d"), bad}, {num("NaN"), bad},
		{&node{kind: kBool, text: "true"}, bad}, {&node{kind: kList}, bad},
	} {
		got, f := asDuration(tt.n)
		if (f != nil) != (tt.want == bad) || f == nil && got != tt.want {
			t.Errorf("%s %q: %v %v", tt.n.kind, tt.n.text, got, f)
		}
	}
}

func TestSizes(t *testing.T) {
	const bad = -1
	for _, tt := range []struct {
		n    *node
		want int64
	}{
		{num("0"), 0}, {num("4096"), 4096}, {jsonNum("4096"), 4096}, {num("1e3"), 1000}, {text("4096"), 4096}, {text("4096B"), 4096},
		{text("64KiB"), 64 << 10}, {text("128MiB"), 128 << 20}, {text(" 128 MiB "), 128 << 20}, {text("1GiB"), 1 << 30}, {text("1GB"), 1e9}, {text("2KB"), 2000}, {text("3MB"), 3e6},
		{text("-1"), bad}, {num("-1"), bad}, {text("1.5MiB"), bad}, {text("MiB"), bad}, {text(""), bad}, {text("10 apples"), bad}, {text("1TiB"), bad},
		{text("9999999999999999999"), bad}, {text("8589934592GiB"), bad}, {text("1mib"), bad}, {&node{kind: kBool, text: "true"}, bad}, {&node{kind: kList}, bad},
	} {
		got, f := asSize(tt.n)
		if (f != nil) != (tt.want == bad) || f == nil && got != tt.want {
			t.Errorf("%s %q: %v %v", tt.n.kind, tt.n.text, got, f)
		}
		if f != nil {
			continue
		}
		if again, f := asSize(text(shortSize(got))); f != nil || again != got {
			t.Errorf("%d is written as %s and read as %d", got, shortSize(got), again)
		}
	}
}

func TestModes(t *testing.T) {
	const bad = fs.FileMode(1 << 20)
	for _, tt := range []struct {
		n    *node
		want fs.FileMode
	}{
		{num("0600"), 0o600}, {num("0640"), 0o640}, {num("0"), 0}, {num("420"), 0o644}, {num("0x1a4"), 0o644},
		{text("0600"), 0o600}, {text("640"), 0o640}, {text("0o644"), 0o644}, {text("00644"), 0o644}, {text("0"), 0},
		{jsonNum("420"), 0o644}, {jsonNum("416"), 0o640}, {jsonNum("511"), 0o777},
		{num("644"), bad}, {num("0888"), bad}, {num("01777"), bad}, {num("-1"), bad}, {num("6.5"), bad}, {jsonNum("640"), bad}, {jsonNum("512"), bad},
		{text("888"), bad}, {text("rw"), bad}, {text(""), bad}, {text("4755"), bad}, {text("99999999999999"), bad}, {&node{kind: kBool, text: "true"}, bad},
	} {
		got, f := asMode(tt.n)
		if (f != nil) != (tt.want == bad) || f == nil && got != tt.want {
			t.Errorf("%s %q: %v %v", tt.n.kind, tt.n.text, got, f)
		}
	}
}

func TestBools(t *testing.T) {
	for text, want := range map[string]string{"true": "true", "false": "false", "1": "true", "0": "false", "T": "true", " true ": "true", "yes": "", "2": "", "on": ""} {
		for _, kind := range []kind{kString, kNumber} {
			got, f := asBool(&node{kind: kind, text: text})
			if (f != nil) != (want == "") || f == nil && got != (want == "true") {
				t.Errorf("%q: %v %v", text, got, f)
			}
		}
	}
	if got, f := asBool(text("")); f != nil || got {
		t.Errorf("an empty string: %v %v", got, f)
	}
}

func TestInts(t *testing.T) {
	for text, want := range map[string]int{"5": 5, "-1": -1, "010": 8, "0x1F": 31, "1e3": 1000, "10.0": 10} {
		if got, f := asInt(num(text)); f != nil || got != want {
			t.Errorf("%q: %d %v", text, got, f)
		}
	}
	for _, s := range []string{"", "1.5", "x", "1e300", "99999999999999999999"} {
		if got, f := asInt(text(s)); f == nil {
			t.Errorf("%q: %d", s, got)
		}
	}
}

func TestFloats(t *testing.T) {
	for _, n := range []*node{num("0.9"), text("0.9"), jsonNum("9e-1")} {
		if got, f := asFloat(n); f != nil || got != 0.9 {
			t.Errorf("%v: %v", got, f)
		}
	}
	for _, s := range []string{"", "NaN", "Inf", "x"} {
		if got, f := asFloat(text(s)); f == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}
