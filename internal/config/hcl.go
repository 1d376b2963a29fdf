package config

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxDepth bounds how deep blocks and lists may nest in a file.
const maxDepth = 100

// parseHCL reads a file in HCL. The tokens are hclsyntax's; what may follow
// what is HCL1's grammar, a superset of what HCL2 allows in a file without
// expressions: line breaks mean nothing, commas between items are optional,
// keys may be quoted, and nothing in a string is evaluated.
func parseHCL(src *source) (*node, *Problem) {
	masked, bad := maskHCL(src)
	if bad != nil {
		return nil, bad
	}
	// The lexer's own diagnostics name tokens; ours name what was expected.
	toks, _ := hclsyntax.LexConfig(masked, src.name, hcl.InitialPos)
	p := &hclParser{src: src, toks: toks}
	root := &node{kind: kObject, src: src}
	if bad := p.items(root, hclsyntax.TokenEOF, 0); bad != nil {
		return nil, bad
	}
	return root, nil
}

type hclParser struct {
	src  *source
	toks hclsyntax.Tokens
	at   int
}

func (p *hclParser) peek() hclsyntax.Token { return p.toks[p.at] }

func (p *hclParser) next() hclsyntax.Token {
	t := p.toks[p.at]
	if t.Type != hclsyntax.TokenEOF {
		p.at++
	}
	return t
}

// joined says whether the next token follows the previous one without a gap.
func (p *hclParser) joined() bool {
	return p.at > 0 && p.toks[p.at-1].Range.End.Byte == p.peek().Range.Start.Byte
}

func (p *hclParser) problem(off int, text, hint string) *Problem {
	return &Problem{Pos: p.src.pos(off), Text: text, Hint: hint, Source: p.src.line(off)}
}

func (p *hclParser) unexpected(t hclsyntax.Token, wanted, hint string) *Problem {
	return p.problem(t.Range.Start.Byte, fmt.Sprintf("expected %s, found %s", wanted, tokenName(t)), hint)
}

func tokenName(t hclsyntax.Token) string {
	switch t.Type {
	case hclsyntax.TokenEOF:
		return "the end of the file"
	case hclsyntax.TokenOQuote:
		return "a string"
	case hclsyntax.TokenIdent:
		return fmt.Sprintf("the word %s", t.Bytes)
	case hclsyntax.TokenNumberLit:
		return "a number"
	case hclsyntax.TokenBadUTF8:
		return "bytes that are not UTF-8"
	case hclsyntax.TokenApostrophe:
		return "a single quote"
	}
	return fmt.Sprintf("%q", t.Bytes)
}

// items parses keys and their values until the token that ends them.
func (p *hclParser) items(into *node, end hclsyntax.TokenType, depth int) *Problem {
	if depth > maxDepth {
		return p.problem(p.peek().Range.Start.Byte, "nested too deep", "")
	}
	for {
		if t := p.peek(); t.Type == end {
			p.next()
			return nil
		} else if t.Type == hclsyntax.TokenEOF {
			return p.problem(into.off, "this block is never closed", "end it with }")
		}
		e, bad := p.item(depth)
		if bad != nil {
			return bad
		}
		into.entries = append(into.entries, e)
		if p.peek().Type == hclsyntax.TokenComma {
			p.next()
		}
	}
}

// item parses one key and its value.
func (p *hclParser) item(depth int) (*entry, *Problem) {
	e := &entry{}
	var bad *Problem
	if e.key, e.off, bad = p.key(); bad != nil {
		return nil, bad
	}
	for {
		t := p.peek()
		switch t.Type {
		case hclsyntax.TokenEqual, hclsyntax.TokenColon:
			if len(e.labels) > 0 {
				return nil, p.unexpected(t, "{ after a label", "a labelled block has no equals sign: "+e.key+" "+quoteLabels(e.labels)+" {")
			}
			p.next()
			e.assigned = true
			e.val, bad = p.value(depth)
			return e, bad
		case hclsyntax.TokenOBrace:
			e.val, bad = p.value(depth)
			return e, bad
		case hclsyntax.TokenIdent, hclsyntax.TokenOQuote:
			text, off, bad := p.key()
			if bad != nil {
				return nil, bad
			}
			e.labels = append(e.labels, label{text, off})
		default:
			return nil, p.unexpected(t, fmt.Sprintf("= or { after %s", e.key), "")
		}
	}
}

func quoteLabels(ls []label) string {
	var s []string
	for _, l := range ls {
		s = append(s, fmt.Sprintf("%q", l.text))
	}
	return strings.Join(s, " ")
}

// key parses a key or a label: a word, possibly with dots, or a string.
func (p *hclParser) key() (text string, off int, bad *Problem) {
	t := p.next()
	off = t.Range.Start.Byte
	switch t.Type {
	case hclsyntax.TokenOQuote:
		text, bad = p.str(t)
		return text, off, bad
	case hclsyntax.TokenIdent:
		text = string(t.Bytes)
		for p.joined() {
			n := p.peek()
			if n.Type != hclsyntax.TokenDot && n.Type != hclsyntax.TokenIdent && n.Type != hclsyntax.TokenNumberLit {
				break
			}
			text += string(p.next().Bytes)
		}
		return text, off, nil
	}
	return "", off, p.unexpected(t, "a key", "")
}

// value parses what follows an equals sign or begins with a brace.
func (p *hclParser) value(depth int) (*node, *Problem) {
	t := p.next()
	n := &node{src: p.src, off: t.Range.Start.Byte}
	switch t.Type {
	case hclsyntax.TokenOQuote:
		text, bad := p.str(t)
		n.text = text
		return n, bad
	case hclsyntax.TokenOBrace:
		n.kind = kObject
		return n, p.items(n, hclsyntax.TokenCBrace, depth+1)
	case hclsyntax.TokenOBrack:
		n.kind = kList
		return n, p.elements(n, depth+1)
	case hclsyntax.TokenNumberLit:
		n.kind, n.text = kNumber, p.number(t)
	case hclsyntax.TokenMinus, hclsyntax.TokenDot:
		if d := p.peek(); d.Type == hclsyntax.TokenNumberLit && p.joined() {
			n.kind, n.text = kNumber, string(t.Bytes)+p.number(p.next())
		}
	case hclsyntax.TokenIdent:
		switch string(t.Bytes) {
		case "true", "false":
			n.kind, n.text = kBool, string(t.Bytes)
			return n, nil
		}
		p.src.hideRest(n.off)
		return nil, p.problem(n.off, "expected a value, found a word without quotes", `write text in double quotes`)
	case hclsyntax.TokenApostrophe:
		p.src.hideRest(n.off)
		return nil, p.unexpected(t, "a value", `strings are written in double quotes`)
	}
	if n.kind == kNumber {
		if g := p.peek(); p.joined() && g.Type == hclsyntax.TokenIdent && (g.Bytes[0] == 'e' || g.Bytes[0] == 'E') {
			p.src.hideRest(n.off)
			return nil, p.problem(n.off, "expected a value, found a number with an unfinished exponent", "")
		}
		p.src.bare = append(p.src.bare, span{n.off, n.off + len(n.text), true})
		return n, nil
	}
	p.src.hideRest(n.off)
	return nil, p.unexpected(t, "a value", "")
}

// number joins what hclsyntax splits: it knows no 0x1F and no 1. of HCL1.
func (p *hclParser) number(t hclsyntax.Token) string {
	text := string(t.Bytes)
	if !p.joined() {
		return text
	}
	n := p.peek()
	hex := text == "0" && n.Type == hclsyntax.TokenIdent && (n.Bytes[0] == 'x' || n.Bytes[0] == 'X')
	if hex || n.Type == hclsyntax.TokenDot {
		text += string(p.next().Bytes)
	}
	return text
}

// elements parses a list; as in HCL1, commas may follow the last element and
// each other.
func (p *hclParser) elements(into *node, depth int) *Problem {
	if depth > maxDepth {
		return p.problem(into.off, "nested too deep", "")
	}
	for {
		switch p.peek().Type {
		case hclsyntax.TokenCBrack:
			p.next()
			return nil
		case hclsyntax.TokenComma:
			p.next()
			continue
		case hclsyntax.TokenEOF:
			return p.problem(into.off, "this list is never closed", "end it with ]")
		}
		v, bad := p.value(depth)
		if bad != nil {
			return bad
		}
		into.list = append(into.list, v)
		if v.kind == kList {
			continue // after a list in a list HCL1 forgets to ask for a comma
		}
		switch t := p.peek(); t.Type {
		case hclsyntax.TokenComma, hclsyntax.TokenCBrack, hclsyntax.TokenEOF:
		default:
			return p.unexpected(t, "a comma or ] after a list's element", "")
		}
	}
}

// str reads the string whose opening quote is open, from the file itself: the
// token stream holds only a mask of its length.
func (p *hclParser) str(open hclsyntax.Token) (string, *Problem) {
	from := open.Range.Start.Byte
	end := open
	for end = p.next(); end.Type == hclsyntax.TokenQuotedLit; end = p.next() {
	}
	if end.Type != hclsyntax.TokenCQuote {
		return "", p.problem(from, "this string is never closed", "")
	}
	raw := p.src.data[from:end.Range.End.Byte]
	if bytes.Contains(raw, []byte("\r\n")) { // a value has the same bytes wherever it was edited
		raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	}
	if bytes.HasPrefix(raw, []byte("<<")) {
		return heredocText(raw), nil
	}
	text, bad := unquoteHCL(string(raw[1 : len(raw)-1]))
	if bad >= 0 {
		return "", p.problem(from+1+bad, "this escape is not known",
			`a backslash is written \\; known are \n \t \r \" \\ \uXXXX and those of Go`)
	}
	return text, nil
}
