package envwire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

func TestAnAnswerArrivesAsItWas(t *testing.T) {
	every := make([]byte, 255)
	for i := range every {
		every[i] = byte(i + 1)
	}
	for name, tc := range map[string]struct{ in, out Answer }{
		"nothing": {},
		"values exact to the byte, sorted": {
			Answer{Set: []Pair{{"B", string(every)}, {"A", ""}, {"a-b.c d", "=x=\n"}}, Unset: []string{"VAULT_*", "B", "B"}},
			Answer{Set: []Pair{{"A", ""}, {"B", string(every)}, {"a-b.c d", "=x=\n"}}, Unset: []string{"B", "VAULT_*"}},
		},
		"an error and no values": {
			Answer{Err: "no", Set: []Pair{{"A", "x"}}, Unset: []string{"A"}},
			Answer{Err: "no", Unset: []string{"A"}},
		},
	} {
		b, err := Encode(tc.in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := Decode(b); err != nil || !reflect.DeepEqual(got, tc.out) {
			t.Errorf("%s: %#v, %v", name, got, err)
		}
	}
}

func TestWhatNoEnvironmentCanHoldIsRefusedByName(t *testing.T) {
	for want, a := range map[string]Answer{
		"A has a value with a NUL": {Set: []Pair{{"A", "CANARY\x00CANARY"}}},
		"A has a value of 131070":  {Set: []Pair{{"A", strings.Repeat("x", 131070)}}},
		`"" is no name`:            {Set: []Pair{{"", "CANARY"}}},
		`"A=B" is no name`:         {Set: []Pair{{"A=B", "CANARY"}}},
		`"A\x00" is no name`:       {Set: []Pair{{"A\x00", "CANARY"}}},
		"A is set twice":           {Set: []Pair{{"A", "CANARY"}, {"A", "CANARY"}}},
		"all values together":      {Set: many(40, 128_000)},
	} {
		_, err := Encode(a)
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), `"A"`, "A"), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", want, err)
		}
	}
	// The longest that is possible.
	if _, err := Encode(Answer{Set: []Pair{{"A", strings.Repeat("x", 131069)}}}); err != nil {
		t.Error(err)
	}
}

func many(n, size int) []Pair {
	var out []Pair
	for i := range n {
		out = append(out, Pair{fmt.Sprintf("N%03d", i), strings.Repeat("x", size)})
	}
	return out
}

func TestAnAnswerThatEndsInTheMiddleIsNone(t *testing.T) {
	b, err := Encode(Answer{Set: []Pair{{"A", "value"}}, Unset: []string{"X"}})
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(b) {
		if _, err := Decode(b[:n]); !errors.Is(err, ErrShort) {
			t.Errorf("%d bytes of %d: %v", n, len(b), err)
		}
	}
	if _, err := Decode(append(b, 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("one byte more: %v", err)
	}
}

func TestSomethingElseIsNoAnswer(t *testing.T) {
	good, _ := Encode(Answer{Set: []Pair{{"A", "x"}, {"B", "y"}}})
	change := func(old, now string) []byte { return bytes.Replace(good, []byte(old), []byte(now), 1) }
	for name, tc := range map[string]struct {
		b    []byte
		want error
	}{
		"another version": {change("env 1", "env 2"), ErrForeign},
		"HTTP":            {[]byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n"), ErrForeign},
		"a few letters":   {[]byte("no"), ErrForeign},
		"not sorted":      {change("\x01A", "\x01C"), ErrMalformed},
		"twice":           {change("\x01B", "\x01A"), ErrMalformed},
		"a = in a name":   {change("\x01A", "\x01="), ErrMalformed},
		"a NUL":           {change("\x01x", "\x01\x00"), ErrMalformed},
		"more than there": {append([]byte(magic), 0, 0, 0, 8, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff), ErrMalformed},
		"a huge length":   {append([]byte(magic), 0xff, 0xff, 0xff, 0xff), ErrMalformed},
	} {
		if _, err := Decode(tc.b); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnAnswerPrintsNoValue(t *testing.T) {
	a := Answer{Set: []Pair{{"A", "CANARY"}}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, x := range []any{a, &a, a.Set, a.Set[0]} {
			if out := fmt.Sprintf(verb, x); strings.Contains(out, "CANARY") {
				t.Errorf("%s of %T shows a value: %s", verb, x, out)
			}
		}
	}
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "a", a, "p", a.Set)
	slog.New(slog.NewTextHandler(&b, nil)).Info("m", "a", a, "p", a.Set)
	out, _ := json.Marshal(map[string]any{"a": a, "p": a.Set})
	if s := b.String() + string(out); strings.Contains(s, "CANARY") || !strings.Contains(s, "sets 1 variables") {
		t.Error(s)
	}
}

func TestEachSandboxHasItsSocket(t *testing.T) {
	seen := map[string]string{}
	for _, api := range []string{
		"127.0.0.1:9001", "127.0.0.1:9002", "169.254.100.1:9001", "[::1]:9001", "sandbox.localdomain:9001", "",
		"a b", "a\x00b", strings.Repeat("x", 200), strings.Repeat("x", 201),
	} {
		a := Address(api)
		if other, taken := seen[a]; taken {
			t.Errorf("%q and %q share %s", api, other, a)
		}
		seen[a] = api
		if len(a) > 107 || a[0] != '@' || strings.ContainsAny(a, " \x00") {
			t.Errorf("%q is no address", a)
		}
		if Address(api) != a {
			t.Error("the two sides would not meet")
		}
	}
}

// Whatever arrives: it is refused, or it is exactly what Encode makes of it.
func FuzzDecode(f *testing.F) {
	for _, a := range []Answer{{}, {Err: "x", Unset: []string{"A"}}, {Set: []Pair{{"A", "b"}}, Unset: []string{"A", "B*"}}} {
		b, err := Encode(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("HTTP/1.1 200 OK"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(a)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q, %v", again, err)
		}
	})
}
