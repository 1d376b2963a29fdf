package template

import "testing"

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "x", `{{ with secret "kv/a" }}{{ .Data.data.x }}{{ else }}y{{ end }}`, `{{ define "a" }}{{ end }}{{ template "a" }}`,
		`{{ range $i, $e := secrets "kv" }}{{ break }}{{ end }}`, `{{ (secret "a").Data.b.c }}`, `{{ /* c */ }}`,
		`{{ $x := 1 }}{{ $x.y }}`, "{{ \"a\" |\nwriteToFile \"/x\" }}", "{{", "{{ end }}", `{{ with $x := secret "a?b=c" }}{{ end }}`,
	} {
		f.Add(s, "", "", 1, 0)
		f.Add(s, "{{", "}}", 2, 3)
	}
	f.Fuzz(func(t *testing.T, contents, left, right string, line, column int) {
		text, err := parseText(contents, left, right)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		text.secretAt(line, column)
	})
}

func TestTheSecretAroundAPlace(t *testing.T) {
	const contents = "{{ with secret \"kv/a?version=1\" }}\n  {{ range secrets \"kv\" }}{{ with secret \"kv/b\" | f }}{{ .x }}{{ end }}\n  {{ .y }}{{ end }}{{ end }}\n{{ .z }}"
	text, err := parseText(contents, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		line, column int
		want         string
	}{
		{2, 57, "secret kv/b"}, {3, 5, "secret kv/a?version=1"}, {4, 3, ""}, {99, 1, ""},
	} {
		got := ""
		if req, ok := text.secretAt(tc.line, tc.column); ok {
			got = describe(req)
		}
		if got != tc.want {
			t.Errorf("%d:%d: got %q, want %q", tc.line, tc.column, got, tc.want)
		}
	}
}
