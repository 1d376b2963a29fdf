package cred

import "testing"

// As Vault 1.21 gave them out: the one with the answer to a login, the other with
// what it says of it.
const (
	long  = "hvs.CAESIPE-abgROoPGd3uXvzjnl_uKnelr3VUBrDbghXViCHMqGh4KHGh2cy5EWUtXbmxPblF1U2NmdE1kd2tNUmpSN1E"
	short = "hvs.DYKWnlOnQuScftMdwkMRjR7Q"
)

func TestTheTwoSpellingsOfATokenAreOne(t *testing.T) {
	for in, want := range map[string]string{
		long:  short,
		short: short,
		// Others stay what they are.
		"":                  "",
		"root":              "root",
		"s.abcdefghijklmno": "s.abcdefghijklmno",
		long[:70]:           long[:70],
		"hvb." + long[4:]:   "hvb." + long[4:],
		"hvs." + long:       "hvs." + long,
		"s." + long[4:]:     "s." + long[4:],
	} {
		if got := Redact(in).Short().Reveal(); got != want {
			t.Errorf("%q is %q for short, want %q", in, got, want)
		}
	}
}

func FuzzShort(f *testing.F) {
	f.Add(long)
	f.Add("hvs.CAES" + long)
	f.Fuzz(func(t *testing.T, text string) {
		once := Redact(text).Short()
		if len(once.Reveal()) > len(text) || once.Empty() != (text == "") {
			t.Fatalf("%q became %q", text, once.Reveal())
		}
	})
}
