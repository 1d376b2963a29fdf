package template

import (
	"strings"
	"testing"
)

func TestPathsOfSecretsAreReadAsConsulTemplateReadsThem(t *testing.T) {
	for _, c := range []struct{ arg, path, query string }{
		{"secret/app", "secret/app", ""},
		{" /secret/app/ ", "secret/app", ""},
		{"secret/app?version=2", "secret/app", "version=2"},
		{"secret/app/?version=2", "secret/app", "version=2"},
		{"/secret/data/app?version=2&list=", "secret/data/app", "list=&version=2"},
		{"secret/a b", "secret/a b", ""},
		{"secret/a%20b", "secret/a b", ""},
		{"secret/50%25", "secret/50%", ""},
		{"secret/what%3F", "secret/what?", ""},
		{"secret/schlüssel/鍵", "secret/schlüssel/鍵", ""},
		{"kv:prod/app", "kv:prod/app", ""},
		{"kv:prod/app?version=1", "kv:prod/app", "version=1"},
		{"a/b/c/mount/app", "a/b/c/mount/app", ""},
	} {
		req, err := readRequest(c.arg)
		if err != nil || req.Path != c.path || req.Query != c.query || req.Op != OpRead {
			t.Errorf("%q is %+v, %v; want path %q and query %q", c.arg, req, err, c.path, c.query)
		}
	}
	for _, arg := range []string{"", " ", "/", "?version=2", "secret/100%"} {
		if _, err := readRequest(arg); err == nil || !strings.HasPrefix(err.Error(), "path of a secret") {
			t.Errorf("%q: %v", arg, err)
		}
	}
}
