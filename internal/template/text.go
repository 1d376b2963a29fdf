package template

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template/parse"
)

// text is a parsed template text.
type text struct {
	contents    string
	left, right string
	// trees is nil when the text was forgotten; see parsed.
	trees map[string]*parse.Tree
	// calls are the functions named anywhere, each with the place where it
	// is named first ("line 3").
	calls map[string]string
	// fields are the names after a dot anywhere, "Key" for .Key or $x.Key.
	fields map[string]bool
	// targets are the paths that writeToFile is given as plain strings, sides
	// is whether it is called at all.
	targets []string
	sides   bool
	// pkiCerts counts the places that call pkiCert.
	pkiCerts int
	// library is whether the text needs a function of consul-template.
	library bool
}

var parseError = lazy(`(?s)^template: :(\d+):(?:\d+:)? (.*)$`)

func parseText(contents, left, right string) (*text, error) {
	t := &text{
		contents: contents, left: left, right: right,
		trees:  map[string]*parse.Tree{},
		calls:  map[string]string{},
		fields: map[string]bool{},
	}
	tree := parse.New("")
	tree.Mode = parse.SkipFuncCheck
	if _, err := tree.Parse(contents, left, right, t.trees); err != nil {
		if m := parseError().FindStringSubmatch(err.Error()); m != nil {
			return nil, fmt.Errorf("line %s: %s", m[1], m[2])
		}
		return nil, errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	for _, tree := range t.trees {
		walk(tree.Root, func(n parse.Node) { t.note(tree, n) })
	}
	slices.Sort(t.targets)
	t.targets = slices.Compact(t.targets)
	return t, nil
}

// parsed returns the trees by name. Those of a text that was forgotten are made
// again.
func (t *text) parsed() map[string]*parse.Tree {
	if t.trees == nil {
		again, err := parseText(t.contents, t.left, t.right)
		if err != nil {
			return nil // not reached: the same text was parsed before
		}
		t.trees = again.trees
	}
	return t.trees
}

// forget lets go of the trees. They take ten times the memory of the text, and are
// made in less time than the file is written.
func (t *text) forget() { t.trees = nil }

func (t *text) note(tree *parse.Tree, n parse.Node) {
	switch n := n.(type) {
	case *parse.IdentifierNode:
		if _, ok := t.calls[n.Ident]; !ok {
			t.calls[n.Ident] = lineOf(tree, n)
		}
		switch n.Ident {
		case "pkiCert":
			t.pkiCerts++
		case "writeToFile":
			t.sides = true
		}
	case *parse.FieldNode:
		for _, f := range n.Ident {
			t.fields[f] = true
		}
	case *parse.VariableNode:
		for _, f := range n.Ident[1:] {
			t.fields[f] = true
		}
	case *parse.ChainNode:
		for _, f := range n.Field {
			t.fields[f] = true
		}
	case *parse.CommandNode:
		if name, args := call(n); name == "writeToFile" && len(args) > 0 {
			if s, ok := args[0].(*parse.StringNode); ok {
				t.targets = append(t.targets, s.Text)
			}
		}
	}
}

// call returns the function that a command names and its arguments.
func call(c *parse.CommandNode) (name string, args []parse.Node) {
	if len(c.Args) == 0 {
		return "", nil
	}
	id, ok := c.Args[0].(*parse.IdentifierNode)
	if !ok {
		return "", nil
	}
	return id.Ident, c.Args[1:]
}

func lineOf(tree *parse.Tree, n parse.Node) string {
	where, _ := tree.ErrorContext(n)
	parts := strings.Split(where, ":")
	if len(parts) < 2 {
		return "line 1"
	}
	return "line " + parts[len(parts)-2]
}

// walk visits every node below and including n.
func walk(n parse.Node, visit func(parse.Node)) {
	branch := func(b *parse.BranchNode) {
		walk(b.Pipe, visit)
		walk(b.List, visit)
		if b.ElseList != nil {
			walk(b.ElseList, visit)
		}
	}
	visit(n)
	switch n := n.(type) {
	case *parse.ListNode:
		for _, c := range n.Nodes {
			walk(c, visit)
		}
	case *parse.ActionNode:
		walk(n.Pipe, visit)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			walk(c, visit)
		}
	case *parse.CommandNode:
		for _, a := range n.Args {
			walk(a, visit)
		}
	case *parse.ChainNode:
		walk(n.Node, visit)
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.TemplateNode:
		if n.Pipe != nil {
			walk(n.Pipe, visit)
		}
	}
}

// secretAt returns the read whose answer is the dot at a place in the text:
// that of the innermost "with" or "range" around it which names a path.
func (t *text) secretAt(line, column int) (Request, bool) {
	offset := column
	for rest := t.contents; line > 1; line-- {
		i := strings.IndexByte(rest, '\n') + 1
		offset += i
		rest = rest[i:]
	}
	var found Request
	best := -1
	for _, tree := range t.parsed() {
		walk(tree.Root, func(n parse.Node) {
			var b *parse.BranchNode
			switch n := n.(type) {
			case *parse.WithNode:
				b = &n.BranchNode
			case *parse.RangeNode:
				b = &n.BranchNode
			default:
				return
			}
			start, end := int(b.List.Pos), 0
			walk(b.List, func(n parse.Node) { end = max(end, int(n.Position())) })
			if offset < start || offset > end || start <= best {
				return
			}
			if req, ok := named(b.Pipe); ok {
				found, best = req, start
			}
		})
	}
	return found, best >= 0
}

// named returns the first read with a plain path in a pipeline.
func named(pipe *parse.PipeNode) (req Request, ok bool) {
	walk(pipe, func(n parse.Node) {
		c, isCommand := n.(*parse.CommandNode)
		if !isCommand || ok {
			return
		}
		if name, args := call(c); name == "secret" && len(args) == 1 {
			if s, isString := args[0].(*parse.StringNode); isString {
				r, err := readRequest(s.Text)
				req, ok = r, err == nil
			}
		}
	})
	return req, ok
}
