package methods

import (
	"errors"
	"strings"
	"testing"

	"latchkey/internal/config"
)

func TestLookup(t *testing.T) {
	for name := range All {
		if c, err := Lookup(name); err != nil || c == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, tc := range []struct{ name, text, hint string }{
		{"aws", `auth method "aws" is not built yet in this version`, "there is approle, cert,"},
		{"ldap", "is not built yet", "there is"},
		{"pcf", "is not built yet", "there is"},
		{"approl", `unknown auth method "approl"`, `did you mean "approle"?`},
		{"AppRole", "unknown auth method", `did you mean "approle"?`},
		{"token-file", "unknown auth method", `did you mean "token_file"?`},
		{"kubernetse", "unknown auth method", `did you mean "kubernetes"?`},
		{"awss", "unknown auth method", `did you mean "aws"?`},
		{"radius", "unknown auth method", "there is approle"},
		{"", "no type", "label"},
	} {
		_, err := Lookup(tc.name)
		var p *config.Problem
		if !errors.As(err, &p) || !strings.Contains(p.Text, tc.text) || !strings.Contains(p.Hint, tc.hint) {
			t.Errorf("%q: got %+v", tc.name, p)
		}
	}
}

func TestNoMethodIsBothHereAndYetToCome(t *testing.T) {
	for name := range later {
		if All[name] != nil {
			t.Errorf("%s is in both tables", name)
		}
	}
}
