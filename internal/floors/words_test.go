package floors

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// words have no place in any file of the project. Each is put together from
// parts, so that this file does not offend itself.
var words = []struct {
	// hints are what a line has that the pattern matches, in lower case: a pattern by
	// itself would take the race detector a quarter of a minute.
	hints   []string
	pattern *regexp.Regexp
	why     string
}{
	{
		[]string{"golang", "registry", "pypi", "goproxy", "rubygems"},
		regexp.MustCompile(`(?i)(proxy|sum|index)\.golang` + `\.org|registry\.(npmjs|yarnpkg)` + `\.|pypi` + `\.org|goproxy` + `\.(io|cn)|rubygems` + `\.org`),
		"where modules come from is the builder's choice, not the project's",
	},
	{
		// A home directory's inside or a checkout; Vault has paths such as
		// pki/root/generate too.
		[]string{"root" + "/", "work", "users" + "/"},
		regexp.MustCompile(`(^|[^\w.@})$-])/(root` + `/(\.|go/|src/)|work` + `(/|\b[^\w.-])|Users` + `/\w)`),
		"a path of one machine means nothing on another",
	},
	{
		[]string{"to" + "do", "fix" + "me", "xx" + "x"},
		regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`),
		"what is missing is either done or not promised",
	},
}

func TestNoFileMentionsWhereItWasMade(t *testing.T) {
	err := walk(func(name string) error {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		if bytes.IndexByte(text, 0) >= 0 || strings.HasSuffix(name, "go.sum") {
			return nil
		}
		for i, line := range strings.Split(string(text), "\n") {
			lower := strings.ToLower(line)
			for _, w := range words {
				if !slices.ContainsFunc(w.hints, func(h string) bool { return strings.Contains(lower, h) }) {
					continue
				}
				if m := w.pattern.FindString(line); m != "" {
					t.Errorf("%s:%d: %q: %s", name, i+1, m, w.why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
