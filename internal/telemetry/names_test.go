package telemetry

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var root = filepath.Join("..", "..")

func TestNoTwoNamesAreOneInPrometheus(t *testing.T) {
	seen := map[string]string{}
	for _, n := range Names {
		name := metricName(strings.Split(n.Name, "."))
		all := []string{name}
		if n.Kind == Histogram {
			all = append(all, name+"_bucket", name+"_sum", name+"_count")
		}
		for _, a := range all {
			if seen[a] != "" {
				t.Errorf("%s and %s are both %s", seen[a], n.Name, a)
			}
			seen[a] = n.Name
		}
		if n.Help == "" || strings.Contains(n.Help, "|") {
			t.Errorf("%s: help %q", n.Name, n.Help)
		}
		if (n.Kind == Histogram) != (n.Unit == "ms") {
			t.Errorf("%s: a %s in %q; meter.Meter's Time is in milliseconds", n.Name, n.Kind, n.Unit)
		}
	}
}

// report is one call of a meter in the sources.
type report struct {
	at      string
	kind    Kind
	literal string // the name, or what it begins with
	whole   bool   // it is the whole name
}

// reports reads the rooms' sources: calls of Count, Gauge and Time of something
// that is called Meter or meter, and the names of the labels they make.
func reports(t *testing.T) (calls []report, labels map[string]string) {
	t.Helper()
	labels = map[string]string{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() {
			switch rel {
			case "e2e", "bench", "samples", filepath.Join("internal", "vaulttest"), filepath.Join("internal", "telemetry"), filepath.Join("internal", "meter"):
				return filepath.SkipDir
			}
			if strings.HasPrefix(d.Name(), ".") && rel != "." || d.Name() == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.CallExpr:
				if r, ok := asReport(x); ok {
					r.at = fset.Position(x.Pos()).String()
					calls = append(calls, r)
				}
			case *ast.CompositeLit:
				if sel, ok := x.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Label" && isIdent(sel.X, "meter") && len(x.Elts) > 0 {
					labels[literal(x.Elts[0])] = fset.Position(x.Pos()).String()
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return calls, labels
}

func asReport(call *ast.CallExpr) (report, bool) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) < 2 {
		return report{}, false
	}
	kinds := map[string]Kind{"Count": Counter, "Gauge": Gauge, "Time": Histogram}
	kind, ok := kinds[sel.Sel.Name]
	if !ok {
		return report{}, false
	}
	switch on := sel.X.(type) {
	case *ast.Ident:
		ok = strings.EqualFold(on.Name, "meter")
	case *ast.SelectorExpr:
		ok = strings.EqualFold(on.Sel.Name, "meter")
	default:
		ok = false
	}
	r := report{kind: kind}
	switch arg := call.Args[0].(type) {
	case *ast.BasicLit:
		r.literal, r.whole = literal(arg), true
	case *ast.BinaryExpr:
		r.literal = literal(arg.X)
	}
	return r, ok
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// literal is what a string literal says, also behind a field's name; else "".
func literal(e ast.Expr) string {
	if kv, ok := e.(*ast.KeyValueExpr); ok {
		e = kv.Value
	}
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		return ""
	}
	s, _ := strconv.Unquote(lit.Value)
	return s
}

// A name that a room invents would be dropped at run time, and nobody would
// look for it.
func TestRoomsReportOnlyWhatIsInTheTable(t *testing.T) {
	calls, labels := reports(t)
	if len(calls) < 15 {
		t.Fatalf("only %d reports were found; has the way of reporting changed?", len(calls))
	}
	used := map[string]bool{}
	for _, r := range calls {
		found := false
		for _, n := range Names {
			if r.literal != "" && n.Kind == r.kind && (r.whole && n.Name == r.literal || !r.whole && strings.HasPrefix(n.Name, r.literal)) {
				found, used[n.Name] = true, true
			}
		}
		if !found {
			t.Errorf("%s: the %s %q is not in telemetry.Names; a name must begin with a literal", r.at, r.kind, r.literal)
		}
	}
	for name, at := range labels {
		if !slices.ContainsFunc(Names, func(n Name) bool { return slices.Contains(n.Labels, name) }) {
			t.Errorf("%s: no name in telemetry.Names has the label %q", at, name)
		}
	}
	for _, n := range Names {
		if !used[n.Name] {
			t.Errorf("%s is promised to users, and no room reports it", n.Name)
		}
	}
}

// table is a part of docs/metrics.md.
func table(prefix string, names []Name) string {
	var b strings.Builder
	b.WriteString("| name | in Prometheus | type | unit | labels | meaning |\n|---|---|---|---|---|---|\n")
	for _, n := range names {
		labels := ""
		if len(n.Labels) > 0 {
			labels = "`" + strings.Join(n.Labels, "`, `") + "`"
		}
		typ := n.Kind.String()
		if n.Kind == Histogram && n.Unit != "ms" {
			typ = "summary"
		}
		full := prefix + n.Name
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s | %s |\n", full, metricName(strings.Split(full, ".")), typ, n.Unit, labels, n.Help)
	}
	return b.String()
}

// What users are told is what there is.
func TestTheDocumentListsEveryName(t *testing.T) {
	file := filepath.Join(root, "docs", "metrics.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	for mark, want := range map[string]string{
		"ours":    table("vault.agent.", Names),
		"runtime": table("vault.runtime.", runtimeNames),
		"process": table("", processNames),
	} {
		begin, end := "<!-- begin "+mark+" -->\n", "<!-- end "+mark+" -->\n"
		i, j := strings.Index(got, begin), strings.Index(got, end)
		if i < 0 || j < i {
			t.Fatalf("%s has no place for %s", file, mark)
		}
		i += len(begin)
		if got[i:j] != want {
			if !*update {
				t.Errorf("the table %s is not that of the program: go test ./internal/telemetry -run Document -update", mark)
			}
			got = got[:i] + want + got[j:]
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range bounds {
		if !strings.Contains(got, number(b)) {
			t.Errorf("%s does not name the bucket %v", file, b)
		}
	}
}

// dashboard finds every query and every variable's query.
func queries(v any) (all []string) {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			if s, ok := e.(string); ok && (k == "expr" || k == "query" || k == "definition") && strings.ContainsAny(s, "_(") {
				all = append(all, s)
			}
			all = append(all, queries(e)...)
		}
	case []any:
		for _, e := range x {
			all = append(all, queries(e)...)
		}
	}
	return all
}

var metricInQuery = regexp.MustCompile(`\b(vault|go|process)_[a-zA-Z0-9_:]*`)

// A panel that asks for what is not there stays empty, and nobody knows whether
// that is good news.
func TestTheDashboardAsksForWhatIsThere(t *testing.T) {
	tel, _ := build(t, Options{Config: prom(), Host: "vm"})
	reportAll(tel)
	tel.pipe.Load().metrics.EmitRuntimeStats()
	there := map[string]bool{}
	for l := range strings.Lines(scrape(t, tel)) {
		if m := sampleLine.FindStringSubmatch(strings.TrimSuffix(l, "\n")); m != nil {
			there[m[1]] = true
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "samples", "grafana", "latchkey.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board map[string]any
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	all := queries(board)
	if len(all) < 20 {
		t.Fatalf("only %d queries", len(all))
	}
	asked := map[string]bool{}
	for _, q := range all {
		names := metricInQuery.FindAllString(q, -1)
		if len(names) == 0 {
			t.Errorf("a query without a metric: %s", q)
		}
		if strings.Count(q, "(") != strings.Count(q, ")") || strings.Count(q, "{") != strings.Count(q, "}") || strings.Count(q, "[") != strings.Count(q, "]") {
			t.Errorf("brackets do not match: %s", q)
		}
		for _, name := range names {
			asked[name] = true
			if !there[name] && (!strings.HasPrefix(name, "process_") || there["process_open_fds"]) {
				t.Errorf("%s is not served, in %s", name, q)
			}
		}
	}
	for _, n := range Names {
		name := metricName([]string{"vault", "agent", strings.ReplaceAll(n.Name, ".", "_")})
		if n.Kind == Histogram {
			name += "_bucket"
		}
		if !asked[name] {
			t.Errorf("no panel shows %s", n.Name)
		}
	}
}
