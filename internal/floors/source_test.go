package floors

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write testdata anew instead of comparing with it")

// root is the top of the module, seen from this folder.
const root = "../.."

const module = "latchkey"

// source is one parsed Go file of the root module that is no test.
type source struct {
	path string // from the root, with slashes
	room string // its folder, such as internal/auth
	ast  *ast.File
	fset *token.FileSet
}

func (s source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(n.Pos()).Line)
}

// imports maps the name a file uses for a package to the package's path.
func (s source) imports() map[string]string {
	m := map[string]string{}
	for _, i := range s.ast.Imports {
		p := strings.Trim(i.Path.Value, `"`)
		name := path.Base(p)
		if i.Name != nil {
			name = i.Name.Name
		}
		m[name] = p
	}
	return m
}

// product says whether the file is part of what is shipped; samples and the
// fakes that tests run against are beside the house.
func (s source) product() bool { return floorOf(s.room) < beside }

var sources = sync.OnceValues(func() ([]source, error) {
	var all []source
	err := walk(func(name string) error {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || nested(name) {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, filepath.Join(root, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, source{path: name, room: path.Dir(name), ast: f, fset: fset})
		return nil
	})
	return all, err
})

func allSources(t *testing.T) []source {
	t.Helper()
	s, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	if len(s) == 0 {
		t.Fatal("no source found: the laws would hold for nothing")
	}
	return s
}

// nested says whether a file belongs to a module of its own: e2e and bench are
// not imported by the product and keep their own laws.
func nested(name string) bool {
	return strings.HasPrefix(name, "e2e/") || strings.HasPrefix(name, "bench/")
}

// walk visits every file of the project, by its path from the root.
func walk(visit func(name string) error) error {
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			// What make wrote, and what the recipes of samples/lambda and layer/cdk fetch.
			switch d.Name() {
			case ".git", "bin", "dist", "node_modules", "package", "out", "cdk.out":
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		return visit(name)
	})
}

// listed is what go list says of a package.
type listed struct {
	ImportPath string
	Name       string
	Imports    []string
	Standard   bool
}

// goList runs go list for the platform and with the tags the releases are built
// for, so that the answer does not depend on the machine.
func goList(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-tags=timberjack_nozstd", "-json=ImportPath,Name,Imports,Standard"}, args...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p listed
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func keys[V any](m map[string]V) []string {
	var k []string
	for s := range m {
		k = append(k, s)
	}
	sort.Strings(k)
	return k
}
