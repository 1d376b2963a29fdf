package floors

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// A law that a mistake in its own code has put to sleep looks like a law that
// is kept. This program breaks every door once.
func TestTheDoorsBite(t *testing.T) {
	const text = `package bad

import (
	"context"
	env "os"
	"os/exec"
	"log"
	"log/slog"
	"time"
	"fmt"

	"github.com/hashicorp/consul-template/template"
	vault "github.com/hashicorp/vault/api"
	"go.etcd.io/bbolt"
)

func f() {
	go f()
	env.WriteFile("x", []byte(env.Getenv("HOME")), 0)
	time.Sleep(1)
	fmt.Println(slog.Default())
	env.Exit(1)
}
`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "bad.go", text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, use := range dangers(source{path: "internal/bad/bad.go", room: "internal/bad", ast: f, fset: fset}) {
		found = append(found, use)
	}
	for _, d := range doors {
		if !slices.ContainsFunc(found, func(use string) bool { return d.hasImport(use) || slices.Contains(d.uses, use) }) {
			t.Errorf("%s was not noticed", d.danger)
		}
		if d.hasImport("context") || d.hasImport("log/slog") {
			t.Errorf("%s: noticed what is harmless", d.danger)
		}
	}
	for _, d := range doors {
		if d.danger != "reading the environment" {
			continue
		}
		for room, open := range map[string]bool{"cmd/latchkey": true, "internal/config": true, "internal/configs": false, "oneshot": false} {
			if got := d.opensFor(source{room: room, path: room + "/x.go"}); got != open {
				t.Errorf("%s opens for %s: %v", d.danger, room, got)
			}
		}
	}
}

func TestUndocumentedNamesAreNoticed(t *testing.T) {
	const text = `package p

type Bare struct{}

// Said is said.
type Said struct{}

const Loose = 1

const (
	Quiet = 2 // is quiet
)

func (Bare) Method() {}
`
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				got = append(got, undocumented(d, spec)...)
			}
		case *ast.FuncDecl:
			if onExported(d) && d.Doc == nil {
				got = append(got, d.Name.Name)
			}
		}
	}
	if want := []string{"Bare", "Loose", "Method"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
