package floors

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unwanted packages are never part of a program, and why.
var unwanted = map[string]string{
	"testing":                      "it registers flags and weighs on the start",
	"net/http/httptest":            "a test server has no place in a program",
	"net/http/pprof":               "it registers handlers that show memory",
	module + "/internal/awstest":   "the fake AWS is for tests",
	module + "/internal/vaulttest": "the fake server is for tests and samples",
}

// heavy packages are not for the programs that a function's start waits for, and
// why.
var heavy = map[string]string{
	"github.com/hashicorp/vault/api":                 "a millisecond of regular expressions; see decision 7",
	"github.com/hashicorp/consul-template/template":  "templates are the large extension's",
	"github.com/hashicorp/hcl/v2/hclsyntax":          "configuration files are the large extension's",
	"go.etcd.io/bbolt":                               "nothing outlives a sandbox",
	"github.com/aws/aws-sdk-go-v2/config":            "a function has its credentials at hand",
	"github.com/hashicorp/go-sockaddr":               "it listens on localhost alone",
	"text/template":                                  "it has the linker keep every method there is",
	"html/template":                                  "it has the linker keep every method there is",
	"regexp":                                         "expressions are compiled at each start",
	"encoding/xml":                                   "reflection over every field of it",
	"golang.org/x/net/http2":                         "one request at a time gains nothing by it",
	"go.opentelemetry.io/otel":                       "a function's metrics are the platform's",
	"github.com/prometheus/client_golang/prometheus": "a function's metrics are the platform's",
}

// What a program links is a visible diff: every package beyond the standard
// library is one more thing to trust with a token, and one more to start.
func TestLinkedPackagesAreOnTheList(t *testing.T) {
	for _, program := range []string{"latchkey", "latchkey-extension", "latchkey-exec"} {
		t.Run(program, func(t *testing.T) {
			if files, _ := filepath.Glob(filepath.Join(root, "cmd", program, "*.go")); len(files) == 0 {
				t.Skipf("cmd/%s has not been written yet", program)
			}
			var linked []string
			for _, p := range goList(t, "-deps", "./cmd/"+program) {
				if why := unwanted[p.ImportPath]; why != "" {
					t.Errorf("%s is linked: %s", p.ImportPath, why)
				}
				if why := heavy[p.ImportPath]; why != "" && program != "latchkey" {
					t.Errorf("%s is linked: %s", p.ImportPath, why)
				}
				if !p.Standard {
					linked = append(linked, p.ImportPath)
				}
			}
			slices.Sort(linked)
			compareList(t, "packages_"+program+".txt", linked)
		})
	}
}

func compareList(t *testing.T, name string, got []string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(text))
	for _, p := range got {
		if !slices.Contains(want, p) {
			t.Errorf("new: %s", p)
		}
	}
	for _, p := range want {
		if !slices.Contains(got, p) {
			t.Errorf("gone: %s", p)
		}
	}
	if t.Failed() {
		t.Log("if this is intended: go test ./internal/floors -run Linked -update")
	}
}
