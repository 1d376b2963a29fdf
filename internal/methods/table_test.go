package methods

import (
	"errors"
	"strings"
	"testing"

	"latchkey/internal/config"
)

func TestLookup(t *testing.T) {
	all := All(nil)
	for name := range all {
		if c, err := all.Lookup(name); err != nil || c == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, tc := range []struct{ name, text, hint string }{
		{"azure", `auth method "azure" is not built yet in this version`, "there is approle, aws,"},
		{"ldap", "is not built yet", "there is"},
		{"pcf", "is not built yet", "there is"},
		{"approl", `unknown auth method "approl"`, `did you mean "approle"?`},
		{"AppRole", "unknown auth method", `did you mean "approle"?`},
		{"token-file", "unknown auth method", `did you mean "token_file"?`},
		{"kubernetse", "unknown auth method", `did you mean "kubernetes"?`},
		{"awss", "unknown auth method", `did you mean "aws"?`},
		{"aws-web-identity", "unknown auth method", `did you mean "aws_web_identity"?`},
		{"radius", "unknown auth method", "there is approle"},
		{"", "no type", "label"},
	} {
		_, err := all.Lookup(tc.name)
		var p *config.Problem
		if !errors.As(err, &p) || !strings.Contains(p.Text, tc.text) || !strings.Contains(p.Hint, tc.hint) {
			t.Errorf("%q: got %+v", tc.name, p)
		}
	}
}

func TestNoMethodIsBothHereAndYetToCome(t *testing.T) {
	for _, name := range later {
		if All(nil)[name] != nil {
			t.Errorf("%s is in both tables", name)
		}
	}
}

func TestTheSmallTableSaysWhoHasTheRest(t *testing.T) {
	all, small := All(nil), Lambda(nil)
	for name := range all {
		_, err := small.Lookup(name)
		var p *config.Problem
		if small[name] == nil && (!errors.As(err, &p) || !strings.Contains(p.Hint, "the full extension has it") || !strings.Contains(p.Hint, "there is approle, aws, aws_web_identity, cert, jwt")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name := range small {
		if all[name] == nil {
			t.Errorf("%s is in the small table alone", name)
		}
	}
	var p *config.Problem
	if _, err := small.Lookup("kubernets"); !errors.As(err, &p) || p.Hint != `did you mean "kubernetes"?` {
		t.Errorf("%v", err)
	}
}
