package execwrap

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestStampsAreOfTheirMoment(t *testing.T) {
	for _, at := range []string{
		"1970-01-01T00:00:00.000Z", "1999-12-31T23:59:59.999Z", "2000-02-29T12:00:00.001Z", "2000-03-01T00:00:00.000Z", "2024-02-29T23:59:59.999Z",
		"2026-11-22T03:04:05.678Z", "2100-02-28T23:59:59.999Z", "2100-03-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z",
	} {
		moment, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := stamp(moment.UnixMilli()); got != at {
			t.Errorf("%s comes out as %s", at, got)
		}
	}
	for day := range int64(200 * 366) {
		ms := day*86_400_000 + day*1_234_567%86_400_000
		if got, want := stamp(ms), time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z"); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

func FuzzQuoted(f *testing.F) {
	f.Add("a \"b\" \\ \x00\x1f\x7f \xff ü \u2028")
	f.Fuzz(func(t *testing.T, text string) {
		var back string
		if err := json.Unmarshal([]byte(quoted(text)), &back); err != nil {
			t.Fatalf("%q: %v", quoted(text), err)
		}
		if utf8.ValidString(text) && back != text || strings.ToValidUTF8(text, "") != strings.ReplaceAll(back, "\ufffd", "") && !strings.Contains(text, "\ufffd") {
			t.Fatalf("%q came back as %q", text, back)
		}
	})
}
