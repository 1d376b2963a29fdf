package floors

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// words have no place in any file of the project. Each is put together from
// parts, so that this file does not offend itself.
var words = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{
		regexp.MustCompile(`(?i)(proxy|sum|index)\.golang` + `\.org|registry\.(npmjs|yarnpkg)` + `\.|pypi` + `\.org|goproxy` + `\.(io|cn)|rubygems` + `\.org`),
		"where modules come from is the builder's choice, not the project's",
	},
	{
		// A home directory's inside or a checkout; Vault has paths such as
		// pki/root/generate too.
		regexp.MustCompile(`(^|[^\w.@})$-])/(root` + `/(\.|go/|src/)|work` + `(/|\b[^\w.-])|Users` + `/\w)`),
		"a path of one machine means nothing on another",
	},
	{
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
			for _, w := range words {
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
