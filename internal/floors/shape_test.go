package floors

import (
	"go/ast"
	"strings"
	"testing"
)

// The first thing a reader meets in a room is its package comment. Two of them
// drift apart.
func TestEachPackageHasOnePackageComment(t *testing.T) {
	comments := map[string][]string{}
	for _, s := range allSources(t) {
		if s.ast.Doc == nil {
			if comments[s.room] == nil {
				comments[s.room] = []string{} // a room with no comment so far
			}
			continue
		}
		comments[s.room] = append(comments[s.room], s.path)
		text := s.ast.Doc.Text()
		if name := s.ast.Name.Name; name != "main" && !strings.HasPrefix(text, "Package "+name+" ") {
			t.Errorf("%s: the package comment does not begin with \"Package %s \"", s.path, name)
		}
	}
	for _, room := range keys(comments) {
		if n := len(comments[room]); n != 1 {
			t.Errorf("%s has %d package comments: %s", room, n, strings.Join(comments[room], ", "))
		}
	}
}

// maxLines is a screen.
const maxLines = 60

// When a mode ends, and in which order it does what, must be seen at a glance:
// a function there that needs scrolling hides a room.
func TestArrangementsFitOnAScreen(t *testing.T) {
	for _, s := range allSources(t) {
		top, _, _ := strings.Cut(s.room, "/")
		switch top {
		case "oneshot", "extension", "daemonmode", "cmd":
		default:
			continue
		}
		for _, decl := range s.ast.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1
			if n > maxLines {
				t.Errorf("%s: %s has %d lines, more than %d", s.at(f), f.Name.Name, n, maxLines)
			}
		}
	}
}

// Whoever calls a room reads its comments, not its code: shapes, units and
// errors stand there. Methods whose contract is an interface everyone knows
// are excused.
func TestExportedNamesHaveADocComment(t *testing.T) {
	for _, s := range allSources(t) {
		if s.ast.Name.Name == "main" {
			continue
		}
		for _, decl := range s.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && onExported(d) && d.Doc == nil && !wellKnown[d.Name.Name] {
					t.Errorf("%s: %s has no doc comment", s.at(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					for _, name := range undocumented(d, spec) {
						t.Errorf("%s: %s has no doc comment", s.at(spec), name)
					}
				}
			}
		}
	}
}

var wellKnown = map[string]bool{"Error": true, "String": true, "Unwrap": true}

// onExported says whether a function is no method, or one of an exported type.
func onExported(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	t := f.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// undocumented names what a declaration exports without a comment; the comment
// of a group, and one at the end of a line, count for its members.
func undocumented(d *ast.GenDecl, spec ast.Spec) []string {
	if d.Doc != nil {
		return nil
	}
	var names []string
	switch x := spec.(type) {
	case *ast.TypeSpec:
		if x.Name.IsExported() && x.Doc == nil {
			names = append(names, x.Name.Name)
		}
	case *ast.ValueSpec:
		for _, n := range x.Names {
			if n.IsExported() && x.Doc == nil && x.Comment == nil {
				names = append(names, n.Name)
			}
		}
	}
	return names
}
