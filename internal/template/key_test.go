package template

import (
	"errors"
	"strings"
	"testing"
)

func TestAKeyMayBeATemplate(t *testing.T) {
	data := map[string]any{"user": "ada", "password": "p&q/canary"}
	for _, c := range []struct {
		text, want string
		err        error
	}{
		{"${ .user }", "ada", nil},
		{"${ .user }:${ .password | urlquery }", "ada:p%26q%2Fcanary", nil},
		{"${ .user | upper }", "ADA", nil},
		{"${ .other }", "", ErrRender},
		{"${ .user", "", ErrParse},
		{`${ env "HOME" }`, "", ErrParse},
		{`${ fail .password }`, "", ErrRender},
	} {
		got, err := Key(c.text, data)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v", c.text, got, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%s: the error is more than a line: %q", c.text, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error quotes the secret: %v", c.text, err)
		}
	}
}
