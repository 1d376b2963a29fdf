package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/token"

	"latchkey/internal/hcl"
)

// hcl1 renders what the HCL1 parser, which Vault Agent reads its files with,
// makes of a file; ok is false when it refuses it.
func hcl1(data []byte) (text string, ok bool) {
	defer func() {
		if recover() != nil { // some of its values panic when asked for
			text, ok = "", false
		}
	}()
	f, err := parser.Parse(data)
	if err != nil {
		return "", false
	}
	var b strings.Builder
	renderAST(&b, f.Node)
	return b.String(), true
}

func renderAST(b *strings.Builder, n ast.Node) {
	switch n := n.(type) {
	case *ast.ObjectList:
		for _, it := range n.Items {
			for _, k := range it.Keys {
				fmt.Fprintf(b, "%q ", k.Token.Value())
			}
			renderAST(b, it.Val)
			b.WriteString(";")
		}
	case *ast.ObjectType:
		b.WriteString("{")
		renderAST(b, n.List)
		b.WriteString("}")
	case *ast.ListType:
		b.WriteString("[")
		for _, e := range n.List {
			renderAST(b, e)
			b.WriteString(",")
		}
		b.WriteString("]")
	case *ast.LiteralType:
		switch n.Token.Type {
		case token.NUMBER, token.FLOAT, token.BOOL:
			n.Token.Value() // panics on numbers that are none
			fmt.Fprintf(b, "%s", n.Token.Text)
		default:
			fmt.Fprintf(b, "%q", n.Token.Value())
		}
	}
}

func renderNode(b *strings.Builder, n *node) {
	switch n.kind {
	case kString:
		fmt.Fprintf(b, "%q", n.text)
	case kList:
		b.WriteString("[")
		for _, e := range n.list {
			renderNode(b, e)
			b.WriteString(",")
		}
		b.WriteString("]")
	case kObject:
		b.WriteString("{")
		renderEntries(b, n)
		b.WriteString("}")
	default:
		b.WriteString(n.text)
	}
}

func renderEntries(b *strings.Builder, n *node) {
	for _, e := range n.entries {
		fmt.Fprintf(b, "%q ", e.key)
		for _, l := range e.labels {
			fmt.Fprintf(b, "%q ", l.text)
		}
		renderNode(b, e.val)
		b.WriteString(";")
	}
}

// sameAsHCL1 fails when HCL1 accepts the file and we do not, or read another
// value from it.
func sameAsHCL1(t *testing.T, data []byte) {
	t.Helper()
	want, ok := hcl1(data)
	if !ok {
		return
	}
	src := &source{name: "x.hcl", data: data}
	root, bad := parseHCL(src, hcl.Lex)
	if bad != nil && strings.Contains(bad.Text, "found the end of the file") {
		return // HCL1 forgets a key without a value at the end
	}
	if bad != nil {
		t.Fatalf("HCL1 accepts this, we say %v\n%s", bad, data)
	}
	var b strings.Builder
	renderEntries(&b, root)
	if b.String() != want {
		t.Errorf("HCL1: %s\nours: %s\nfile: %q", want, b.String(), data)
	}
}

// hcl1Forms is every form of HCL1 that hcl/v2's own parser refuses or reads
// otherwise. Each must be accepted by HCL1 too.
var hcl1Forms = map[string]string{
	"attributes on one line":        `a { b = 1 c = "x" d = true }`,
	"attributes with commas":        `a { b = 1, c = "x", }`,
	"top level on one line":         `a = 1 b = 2`,
	"nested blocks on one line":     `listener "tcp" { address = "a" tls_disable = true agent_api { enable_quit = true } }`,
	"block with equals":             `a = { b = { c = 1 } }`,
	"lists in a list":               `a = [[][] ["x"] "y"]`,
	"quoted keys":                   `"vault" { "address" = "x" }`,
	"quoted block and equals":       `"vault" = { "address" = "x" }`,
	"several labels":                `a "b" "c" { d = 1 }`,
	"label without quotes":          `method approle { a = 1 }`,
	"brace on the next line":        "a\n{\n b = 1\n}",
	"value on the next line":        "a =\n 1",
	"keys over lines":               "a\n\"b\"\n{ }",
	"CRLF":                          "a = 1\r\nb {\r\n c = \"x\"\r\n}\r\n",
	"CRLF heredoc":                  "a = <<EOF\r\nx\r\ny\r\nEOF\r\n",
	"lone carriage return":          "a = 1\rb = 2",
	"octal":                         "a = 0600 b = 0640",
	"hexadecimal":                   "a = 0x1F b = 0X1f",
	"negative":                      "a = -1 b = -1.5 c = [-1, -2]",
	"floats":                        "a = 1.5 b = 1e3 c = 1.5e+3 d = 0.5",
	"comments":                      "# a\n// b\n/* c\n * \" d */ a = 1 # e\n/**/b = 2 // \"f",
	"comment at the end":            "a = 1 # no line break",
	"comment with heredoc sign":     "# <<EOF\na = 1",
	"comment between key and value": "a /* x */ = /* y */ 1",
	"list with trailing comma":      `a = ["x", "y",]`,
	"list over lines":               "a = [\n \"x\",\n # c\n \"y\"\n]",
	"empty list":                    `a = []`,
	"list of objects":               `a = [{ b = 1 }, { b = 2 c = 3 },]`,
	"list of lists":                 `a = [[1, 2], [3]]`,
	"leading comma in list":         `a = [,1,,2]`,
	"mixed list":                    `a = [1, "x", true, 1.5]`,
	"interpolation":                 `a = "${HOME:-/srv}" b = "$${x}" c = "%{if x}" d = "%%{x}" e = "$x $ {"`,
	"quotes in interpolation":       `a = "${file("x")} ${"a ${"b"}"}"`,
	"line break in interpolation":   "a = \"${x\ny}\"",
	"escape in interpolation":       `a = "\t${x\ty}\n"`,
	"brace in string":               `a = "}{" b = "{{ .Data }}"`,
	"escapes":                       `a = "\n\t\r\"\\\a\b\f\v" b = "\u00e9\U0001F600\x41\101"`,
	"unicode":                       `a = "grün 🔑" schlüssel = 1`,
	"heredoc":                       "a = <<EOF\n x\n  \"y\" ${z} %{w} $${v} \\n ${open\nEOF\nb = 1\n",
	"heredoc, indented end":         "a = <<EOF\n  x\n  EOF\nb = 1\n",
	"heredoc, empty":                "a = <<EOF\nEOF\n",
	"heredoc, end word inside":      "a = <<EOF\nEOF x\nxEOF\n EOFX\nEOF\n",
	"heredoc, end word and blank":   "a = <<EOF\nEOF \nEOF\n",
	"indented heredoc":              "a = <<-EOF\n    x\n      y\n    EOF\n",
	"indented heredoc, end less":    "a = <<-EOF\n    x\n      y\n  EOF\n",
	"indented heredoc, end more":    "a = <<-EOF\n  x\n    EOF\n",
	"indented heredoc, blank line":  "a = <<-EOF\n  x\n\n  y\n  EOF\n",
	"indented heredoc, tabs":        "a = <<-EOF\n\t\tx\n\t\ty\n\t\tEOF\n",
	"heredoc in a list":             "a = [<<EOF\nx\nEOF\n, <<EOF\ny\nEOF\n]",
	"heredoc in a block":            "a {\n b = <<E1\nx }\nE1\n}\n",
	"dotted keys":                   "a.b = 1 a.b-c { d = 1 }",
	"dashed keys":                   "a-b = 1 a- = 2",
	"keys that look like values":    `"true" { a = 1 } "1" = 2`,
	"empty file":                    "",
	"only comments":                 "# a\n",
	"empty string key":              `"" = 1`,
	"commas between blocks":         `a { }, b { },`,
	"fraction alone":                "a = .5 b = [.5, 1.]",
	"number then key":               "a = 0b = 1",
	"control characters":            "a = \"x\x01y\" b = \"\t\"",
	"form feed in string":           "a = \"x\fy\"",
}

func TestHCL1_forms_are_read_as_HCL1_reads_them(t *testing.T) {
	for name, text := range hcl1Forms {
		t.Run(name, func(t *testing.T) {
			if _, ok := hcl1([]byte(text)); !ok {
				t.Fatalf("HCL1 itself refuses %q", text)
			}
			sameAsHCL1(t, []byte(text))
		})
	}
}

func TestHCL1_examples_are_read_as_HCL1_reads_them(t *testing.T) {
	files, err := filepath.Glob("testdata/examples/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := hcl1(data); !ok {
			t.Errorf("HCL1 itself refuses %s", f)
		}
		sameAsHCL1(t, data)
		sameAsHCL1(t, bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")))
	}
}

// oddNumber is a number run together with a word. HCL1 sees two tokens where
// nobody means two.
var oddNumber = regexp.MustCompile(`[0-9.][\pL_.]`)

func FuzzLoadHCL(f *testing.F) {
	for _, text := range hcl1Forms {
		f.Add([]byte(text))
	}
	f.Add([]byte(tutorial))
	f.Add([]byte("a = \"${\" b = \"x\"\xff\x00 <<"))
	files, _ := filepath.Glob("testdata/examples/*")
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		loadAnything(t, "x.hcl", data)
		start := bytes.TrimLeft(data, " \t\r\n")
		if !bytes.HasPrefix(start, []byte("{")) && !bytes.HasPrefix(start, []byte("[")) && !oddNumber.Match(data) {
			sameAsHCL1(t, data)
		}
	})
}

// loadAnything decodes, resolves, checks and prints a file; whatever it holds
// nothing may panic, and every place named must be in it.
func loadAnything(t *testing.T, name string, data []byte) {
	t.Helper()
	l := &Loaded{late: &lateWarnings{}, File: newFile()}
	probs := l.merge(name, data, Options{Lex: hcl.Lex})
	lines := bytes.Count(data, []byte("\n")) + 1
	inside := func(p *Problem) {
		t.Helper()
		p.Detail()
		if p.Pos.Line < 0 || p.Pos.Line > lines || p.Pos.Line > 0 && (p.Pos.Column < 1 || p.Pos.Column > len(data)+1) {
			t.Errorf("%v is outside of a file of %d lines", p.Pos, lines)
		}
		if strings.Contains(p.Source, "\n") {
			t.Errorf("source line with a break: %q", p.Source)
		}
	}
	for _, p := range probs {
		if p.Pos.Line == 0 {
			t.Errorf("no place in %v", p)
		}
		inside(p)
	}
	for _, w := range l.Warnings {
		inside((*Problem)(&w))
	}
	if len(probs) > 0 {
		return
	}
	file, origins, err := l.Resolve(nil, nil)
	if err != nil {
		return
	}
	for _, m := range []Mode{ModeCheck, ModeOnce, ModeDaemon} {
		warns, err := Check(file, m)
		for _, w := range warns {
			inside((*Problem)(&w))
		}
		if ps, ok := err.(Problems); ok {
			for _, p := range ps {
				inside(p)
			}
		}
	}
	for _, format := range []string{"text", "json"} {
		if err := file.Effective(&bytes.Buffer{}, origins, format); err != nil {
			t.Error(err)
		}
	}
}
