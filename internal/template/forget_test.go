package template

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// A thousand texts of ten secrets each took 13 MiB as trees, half of all that a
// daemon held.
func TestAWatchHoldsTextsAndNotTheirTrees(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		strict := spec(dir, "strict", `{{ with secret "kv/a" }}{{ .Data.data.none }}{{ end }}`)
		strict.ErrorOnMissingKey = true
		w := watch(t, src, Options{}, WatchOptions{},
			spec(dir, "plain", of("kv/a")),
			spec(dir, "library", `{{ with secret "kv/a" }}{{ .Data.data.v | toUpper }}{{ end }}`),
			spec(dir, "defined", `{{ define "x" }}<{{ . }}>{{ end }}{{ with secret "kv/a" }}{{ template "x" .Data.data.v }}{{ end }}`),
			strict)
		for range 2 {
			for _, st := range w.templates {
				if st.t.text.trees != nil {
					t.Errorf("%s is held as a tree", st.t.label)
				}
			}
			src.set("kv/a", "b")
			after(0)
		}
		for file, want := range map[string]string{"plain": "b", "library": "B", "defined": "<b>"} {
			if got := read(t, filepath.Join(dir, file)); got != want {
				t.Errorf("%s holds %q, want %q", file, got, want)
			}
		}
		if err := w.status("strict").Err; !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "in secret kv/a") {
			t.Errorf("%v", err)
		}
	})
}
