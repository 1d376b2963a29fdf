package config

import (
	"bytes"
	"fmt"
	"strings"
)

// maxDepth bounds how deep blocks and lists may nest in a file.
const maxDepth = 100

// parseHCL reads a file in HCL. The tokens are the lexer's; what may follow what
// is HCL1's grammar, a superset of what HCL2 allows in a file without expressions:
// line breaks mean nothing, commas between items are optional, keys may be quoted,
// and nothing in a string is evaluated.
func parseHCL(src *source, lex Lexer) (*node, *Problem) {
	if lex == nil {
		return nil, &Problem{Pos: Pos{File: src.name}, Text: "is not JSON, and this program reads no other configuration files"}
	}
	masked, bad := maskHCL(src)
	if bad != nil {
		return nil, bad
	}
	p := &hclParser{src: src}
	lex(masked, func(kind rune, word []byte, start, end int) {
		p.toks = append(p.toks, hclToken{kind, word, start, end})
	})
	root := &node{kind: kObject, src: src}
	if bad := p.items(root, tokEOF, 0); bad != nil {
		return nil, bad
	}
	return root, nil
}

// Lexer takes text apart; hcl.Lex is one.
type Lexer func(text []byte, each func(kind rune, word []byte, start, end int))

// hclToken is a word of the file, and where it stands.
type hclToken struct {
	kind       rune
	word       []byte
	start, end int
}

// The kinds of tokens are those of hclsyntax; a test compares.
const (
	tokOBrace     = '{'
	tokCBrace     = '}'
	tokOBrack     = '['
	tokCBrack     = ']'
	tokOQuote     = '«'
	tokCQuote     = '»'
	tokQuotedLit  = 'Q'
	tokIdent      = 'I'
	tokNumberLit  = 'N'
	tokComma      = ','
	tokEqual      = '='
	tokColon      = ':'
	tokDot        = '.'
	tokMinus      = '-'
	tokApostrophe = '\''
	tokBadUTF8    = '💩'
	tokEOF        = '␄'
)

type hclParser struct {
	src  *source
	toks []hclToken
	at   int
}

func (p *hclParser) peek() hclToken { return p.toks[p.at] }

func (p *hclParser) next() hclToken {
	t := p.toks[p.at]
	if t.kind != tokEOF {
		p.at++
	}
	return t
}

// joined says whether the next token follows the previous one without a gap.
func (p *hclParser) joined() bool {
	return p.at > 0 && p.toks[p.at-1].end == p.peek().start
}

func (p *hclParser) problem(off int, text, hint string) *Problem {
	return &Problem{Pos: p.src.pos(off), Text: text, Hint: hint, Source: p.src.line(off)}
}

func (p *hclParser) unexpected(t hclToken, wanted, hint string) *Problem {
	return p.problem(t.start, fmt.Sprintf("expected %s, found %s", wanted, tokenName(t)), hint)
}

func tokenName(t hclToken) string {
	switch t.kind {
	case tokEOF:
		return "the end of the file"
	case tokOQuote:
		return "a string"
	case tokIdent:
		return fmt.Sprintf("the word %s", t.word)
	case tokNumberLit:
		return "a number"
	case tokBadUTF8:
		return "bytes that are not UTF-8"
	case tokApostrophe:
		return "a single quote"
	}
	return fmt.Sprintf("%q", t.word)
}

// items parses keys and their values until the token that ends them.
func (p *hclParser) items(into *node, end rune, depth int) *Problem {
	if depth > maxDepth {
		return p.problem(p.peek().start, "nested too deep", "")
	}
	for {
		if t := p.peek(); t.kind == end {
			p.next()
			return nil
		} else if t.kind == tokEOF {
			return p.problem(into.off, "this block is never closed", "end it with }")
		}
		e, bad := p.item(depth)
		if bad != nil {
			return bad
		}
		into.entries = append(into.entries, e)
		if p.peek().kind == tokComma {
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
		switch t.kind {
		case tokEqual, tokColon:
			if len(e.labels) > 0 {
				return nil, p.unexpected(t, "{ after a label", "a labelled block has no equals sign: "+e.key+" "+quoteLabels(e.labels)+" {")
			}
			p.next()
			e.assigned = true
			e.val, bad = p.value(depth)
			return e, bad
		case tokOBrace:
			e.val, bad = p.value(depth)
			return e, bad
		case tokIdent, tokOQuote:
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
	off = t.start
	switch t.kind {
	case tokOQuote:
		text, bad = p.str(t)
		return text, off, bad
	case tokIdent:
		text = string(t.word)
		for p.joined() {
			n := p.peek()
			if n.kind != tokDot && n.kind != tokIdent && n.kind != tokNumberLit {
				break
			}
			text += string(p.next().word)
		}
		return text, off, nil
	}
	return "", off, p.unexpected(t, "a key", "")
}

// value parses what follows an equals sign or begins with a brace.
func (p *hclParser) value(depth int) (*node, *Problem) {
	t := p.next()
	n := &node{src: p.src, off: t.start}
	switch t.kind {
	case tokOQuote:
		text, bad := p.str(t)
		n.text = text
		return n, bad
	case tokOBrace:
		n.kind = kObject
		return n, p.items(n, tokCBrace, depth+1)
	case tokOBrack:
		n.kind = kList
		return n, p.elements(n, depth+1)
	case tokNumberLit:
		n.kind, n.text = kNumber, p.number(t)
	case tokMinus, tokDot:
		if d := p.peek(); d.kind == tokNumberLit && p.joined() {
			n.kind, n.text = kNumber, string(t.word)+p.number(p.next())
		}
	case tokIdent:
		switch string(t.word) {
		case "true", "false":
			n.kind, n.text = kBool, string(t.word)
			return n, nil
		}
		p.src.hideRest(n.off)
		return nil, p.problem(n.off, "expected a value, found a word without quotes", `write text in double quotes`)
	case tokApostrophe:
		p.src.hideRest(n.off)
		return nil, p.unexpected(t, "a value", `strings are written in double quotes`)
	}
	if n.kind == kNumber {
		if g := p.peek(); p.joined() && g.kind == tokIdent && (g.word[0] == 'e' || g.word[0] == 'E') {
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
func (p *hclParser) number(t hclToken) string {
	text := string(t.word)
	if !p.joined() {
		return text
	}
	n := p.peek()
	hex := text == "0" && n.kind == tokIdent && (n.word[0] == 'x' || n.word[0] == 'X')
	if hex || n.kind == tokDot {
		text += string(p.next().word)
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
		switch p.peek().kind {
		case tokCBrack:
			p.next()
			return nil
		case tokComma:
			p.next()
			continue
		case tokEOF:
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
		switch t := p.peek(); t.kind {
		case tokComma, tokCBrack, tokEOF:
		default:
			return p.unexpected(t, "a comma or ] after a list's element", "")
		}
	}
}

// str reads the string whose opening quote is open, from the file itself: the
// token stream holds only a mask of its length.
func (p *hclParser) str(open hclToken) (string, *Problem) {
	from := open.start
	end := open
	for end = p.next(); end.kind == tokQuotedLit; end = p.next() {
	}
	if end.kind != tokCQuote {
		return "", p.problem(from, "this string is never closed", "")
	}
	raw := p.src.data[from:end.end]
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
