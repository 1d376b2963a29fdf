package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func FuzzLoadJSON(f *testing.F) {
	files, err := filepath.Glob("testdata/examples/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no examples", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, s := range []string{
		`{}`, `[]`, `{"a":`, `{"a":1}{`, `{},`, `{"vault":{"retry":{"num_retries":-1}}}`, "\xef\xbb\xbf{\"oops\": \"\xff\"}", `{"a":"\ud800"}`,
		`{"auto_auth":{"method":{"approle":{"config":{}}},"sinks":[{"sink":{"file":{}}}]}}`, `{"template":[[]]}`, `{"":{"":[{}]}}`,
		`{"env_template":{"A":{"contents":"x"},"B":[{"contents":"y"}]},"exec":{"command":["x"]}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		loadAnything(t, "x.json", data)
		if bytes.HasPrefix(data, []byte("{")) {
			_, bad := parseJSON(&source{name: "x.json", data: data})
			if (bad == nil) != json.Valid(withoutLastCommas(data, jsonStrings(data))) && (bad == nil || bad.Text != "nested too deep") {
				t.Errorf("json.Valid says %v, we say %v", json.Valid(data), bad)
			}
		}
	})
}

func TestJSON_commas_after_the_last_element(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,}`:                     `{"a":1 }`,
		`{"a":[1,2 , ], }`:             `{"a":[1,2   ]  }`,
		`{"a":",}",}`:                  `{"a":",}" }`,
		`{"a":"\",}",` + "\n" + `}`:    `{"a":"\",}" ` + "\n" + `}`,
		`{,}`:                          `{,}`,
		`[ ,]`:                         `[ ,]`,
		`[1,,]`:                        `[1,,]`,
		`{"a":1,"b":2}`:                `{"a":1,"b":2}`,
		`{"a":"unfinished,}`:           `{"a":"unfinished,}`,
		"{\"log_level\":\"debug\",\n}": "{\"log_level\":\"debug\" \n}",
	} {
		before := text
		if got := string(withoutLastCommas([]byte(text), jsonStrings([]byte(text)))); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
		if text != before {
			t.Errorf("%s was changed", before)
		}
	}
	l := load(t, "a.json", "{\"log_level\": \"debug\",\n\"listener\": [{\"tcp\": {\"tls_disable\": true,},},],\n}")
	if l.File.LogLevel != "debug" || len(l.File.Listeners) != 1 {
		t.Errorf("%+v", l.File)
	}
}

func TestJSON_a_repeated_block_is_one_more(t *testing.T) {
	l := load(t, "a.json", `{"template": {"contents": "a", "destination": "/a"}, "template": {"contents": "b", "destination": "/b"}}`)
	if len(l.File.Templates) != 2 || l.File.Templates[1].Destination != "/b" {
		t.Errorf("%+v", l.File.Templates)
	}
	if p := problems(t, "a.json", `{"vault": {}, "vault": {}}`)[0]; p.Text != "is set twice; each key can be set once" {
		t.Errorf("%v", p)
	}
}

func TestJSON_nesting_has_a_limit(t *testing.T) {
	deep := append(bytes.Repeat([]byte(`{"a":`), 5000), '1')
	deep = append(deep, bytes.Repeat([]byte(`}`), 5000)...)
	for name, data := range map[string][]byte{
		"a.json": deep,
		"b.hcl":  append(bytes.Repeat([]byte(`a {`), 5000), bytes.Repeat([]byte(`}`), 5000)...),
		"c.hcl":  append([]byte("a = "), bytes.Repeat([]byte(`[`), 5000)...),
	} {
		if ps := problems(t, name, string(data)); ps[0].Text != "nested too deep" {
			t.Errorf("%s: %v", name, ps[0].Text)
		}
	}
}

func TestJSON_of_one_long_line_costs_no_more(t *testing.T) {
	one := `{"contents":"{{ with secret \"kv/a\" }}ü{{ end }}","destination":"/d","perms":"0600","error_fatal":true,"oops":1},`
	text := `{"template":[` + strings.Repeat(one, 5000)
	text = text[:len(text)-1] + "]}"
	begin := time.Now()
	ps := problems(t, "a.json", text)
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("took %v", d) // quadratic work takes minutes
	}
	if len(ps) != 5000 || !strings.HasSuffix(ps.Error(), "\nand 4950 more") {
		t.Errorf("%d problems", len(ps))
	}
	runes := []rune(text)
	for _, p := range []*Problem{ps[0], ps[4999]} {
		if got := string(runes[p.Pos.Column-1:][:6]); got != `"oops"` {
			t.Errorf("column %d is %s", p.Pos.Column, got)
		}
	}
}
