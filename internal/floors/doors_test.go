package floors

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// door is one danger and the rooms that may go near it. Folders below a room
// belong to it; a file may be named instead of a room.
type door struct {
	danger  string
	why     string
	imports []string // packages, with those below them
	uses    []string // package.Name, by the package's path
	rooms   []string
}

var doors = []door{
	{
		danger:  "starting a process",
		why:     "the environment a child inherits, its signals and its exit status are decided once",
		imports: []string{"os/exec"},
		uses:    []string{"os.StartProcess", "syscall.Exec", "syscall.ForkExec", "syscall.StartProcess"},
		rooms: []string{
			"internal/child",
			"internal/execwrap", // becomes the program, and links nothing that could be left out
		},
	},
	{
		danger: "creating a file",
		why:    "files appear whole or not at all, with owner and mode before content",
		uses: []string{
			"os.Create", "os.CreateTemp", "os.OpenFile", "os.WriteFile", "os.Rename", "os.Link", "os.Symlink",
			"io/ioutil.WriteFile", "io/ioutil.TempFile",
		},
		rooms: []string{
			"internal/atomicfile",
			"internal/logging/file.go", // appends to a log, which is the opposite of appearing whole
			"internal/persist/file.go", // a database is locked and grows in place, and a damaged one is renamed
		},
	},
	{
		danger:  "the database",
		why:     "it maps its file and believes what stands there, so that a damaged one ends the process unless every page was looked at before and every use is guarded; and whatever is kept is kept sealed",
		imports: []string{"go.etcd.io/bbolt"},
		rooms:   []string{"internal/persist"},
	},
	{
		danger:  "talking to the server",
		why:     "error kinds, namespaces, redirects and the token's header are decided once, and the client stays replaceable",
		imports: []string{"github.com/hashicorp/vault", "github.com/openbao/openbao"},
		rooms:   []string{"internal/vault"},
	},
	{
		danger:  "the template engine",
		why:     "it is heavy and opinionated: one room hides it, so that it can be replaced or left out",
		imports: []string{"github.com/hashicorp/consul-template"},
		rooms:   []string{"internal/template"},
	},
	{
		danger: "reading the environment",
		why:    "what a run does follows from its arguments, so that tests need no environment and check can say where a value came from",
		uses: []string{
			"os.Getenv", "os.LookupEnv", "os.Environ", "os.ExpandEnv", "os.Setenv", "os.Unsetenv", "os.Clearenv",
			"syscall.Getenv", "syscall.Environ", "syscall.Setenv",
		},
		rooms: []string{"cmd", "internal/config"},
	},
	{
		danger: "leaving the process",
		why:    "deferred clean-up must run, and one table maps errors to exit codes",
		uses:   []string{"os.Exit", "syscall.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln", "runtime.Goexit"},
		rooms:  []string{"cmd"},
	},
	{
		danger: "printing to stdout",
		why:    "stdout may carry a token to the next program; a room returns what it has to say",
		uses:   []string{"fmt.Print", "fmt.Printf", "fmt.Println"},
		rooms:  []string{"cmd"},
	},
	{
		danger:  "a logger of one's own",
		why:     "the logger is handed in; a global one cannot be given a level, a form or a file",
		imports: []string{"log"},
		uses: []string{
			"log/slog.Default", "log/slog.SetDefault", "log/slog.Debug", "log/slog.Info", "log/slog.Warn", "log/slog.Error",
			"log/slog.Log", "log/slog.LogAttrs", "log/slog.With", "log/slog.DebugContext", "log/slog.InfoContext",
			"log/slog.WarnContext", "log/slog.ErrorContext",
		},
		rooms: []string{
			"internal/template/remote.go", // silences the process-wide logger, to which the engine writes
		},
	},
	{
		danger: "waiting without a context",
		why:    "a run that is told to stop stops; internal/retry waits properly",
		uses:   []string{"time.Sleep", "time.Tick"},
	},
	{
		danger: "a goroutine that outlives its function",
		why:    "goroutines have an owner; a room offers blocking functions (see also TestFanOutIsWaitedFor)",
		uses:   []string{"go", "time.AfterFunc"},
		rooms:  []string{"cmd", "daemonmode", "extension", "internal/child"},
	},
}

func (d door) opensFor(s source) bool {
	return slices.ContainsFunc(d.rooms, func(r string) bool {
		return s.path == r || s.room == r || strings.HasPrefix(s.room, r+"/")
	})
}

func (d door) hasImport(p string) bool {
	return slices.ContainsFunc(d.imports, func(i string) bool {
		// "log" is one package, not the parent of log/slog.
		return p == i || strings.Contains(i, ".") && strings.HasPrefix(p, i+"/")
	})
}

func TestEachDangerHasOneDoor(t *testing.T) {
	for _, s := range allSources(t) {
		if !s.product() {
			continue
		}
		for at, use := range dangers(s) {
			for _, d := range doors {
				if (d.hasImport(use) || slices.Contains(d.uses, use)) && !d.opensFor(s) {
					t.Errorf("%s: %s: %s belongs to %s, because %s", s.at(at), use, d.danger, orNobody(d.rooms), d.why)
				}
			}
		}
	}
}

func orNobody(rooms []string) string {
	if len(rooms) == 0 {
		return "nobody"
	}
	return strings.Join(rooms, ", ")
}

// dangers lists what a file does that a door could be about: the packages it
// imports, the names it uses from them, and "go".
func dangers(s source) map[ast.Node]string {
	found := map[ast.Node]string{}
	names := s.imports()
	for _, i := range s.ast.Imports {
		found[i] = strings.Trim(i.Path.Value, `"`)
	}
	ast.Inspect(s.ast, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.GoStmt:
			found[x] = "go"
		case *ast.SelectorExpr:
			if id, ok := x.X.(*ast.Ident); ok && names[id.Name] != "" {
				found[x] = names[id.Name] + "." + x.Sel.Name
			}
		}
		return true
	})
	return found
}

// A dot import would hide a danger's name from the law above.
func TestNoDotImports(t *testing.T) {
	for _, s := range allSources(t) {
		for _, i := range s.ast.Imports {
			if i.Name != nil && i.Name.Name == "." {
				t.Errorf("%s: dot import of %s", s.at(i), i.Path.Value)
			}
		}
	}
}

// abandons lists the functions that may leave a goroutine behind although their
// room does not own any, and why.
var abandons = map[string]string{
	"internal/template/remote.go:try": "the engine's Consul and Nomad queries know no context; one that outlives the deadline is left to its connection",
}

// An errgroup or a WaitGroup may fan out anywhere, as long as the function that
// starts it also waits for it.
func TestFanOutIsWaitedFor(t *testing.T) {
	for _, s := range allSources(t) {
		if !s.product() {
			continue
		}
		for _, decl := range s.ast.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			started, waited := map[string]ast.Node{}, map[string]bool{}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				group, ok := sel.X.(*ast.Ident)
				if !ok {
					return true
				}
				switch sel.Sel.Name {
				case "Go", "TryGo":
					started[group.Name] = call
				case "Wait":
					waited[group.Name] = true
				}
				return true
			})
			for _, group := range keys(started) {
				if !waited[group] && abandons[s.path+":"+f.Name.Name] == "" {
					t.Errorf("%s: %s.Go without %s.Wait in %s", s.at(started[group]), group, group, f.Name.Name)
				}
			}
		}
	}
}
