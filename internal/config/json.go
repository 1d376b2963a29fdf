package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// parseJSON reads a file in JSON into the same tree as HCL. A key given twice
// in one object is a problem, as it is in HCL.
func parseJSON(src *source) (*node, *Problem) {
	src.json = true
	data := src.data
	skip := 0
	if bytes.HasPrefix(data, bom) {
		skip = len(bom)
	}
	src.strings = jsonStrings(data)
	loose := withoutLastCommas(data, src.strings)
	p := &jsonParser{src: src, base: skip, dec: json.NewDecoder(bytes.NewReader(loose[skip:]))}
	p.dec.UseNumber()
	root, bad := p.value(0)
	if bad != nil {
		return nil, bad
	}
	if root.kind != kObject {
		return nil, p.problem(root.off, "the top of a configuration must be an object", "")
	}
	rest := bytes.TrimLeft(data[skip+int(p.dec.InputOffset()):], " \t\r\n")
	if len(rest) > 0 {
		return nil, p.problem(len(data)-len(rest), "something follows the end of the configuration", "")
	}
	return root, nil
}

type jsonParser struct {
	src  *source
	base int
	dec  *json.Decoder
}

func (p *jsonParser) problem(off int, text, hint string) *Problem {
	return &Problem{Pos: p.src.pos(off), Text: text, Hint: hint, Source: p.src.line(off)}
}

// start is where the next token begins.
func (p *jsonParser) start() int {
	off := p.base + int(p.dec.InputOffset())
	for off < len(p.src.data) && strings.IndexByte(" \t\r\n,:", p.src.data[off]) >= 0 {
		off++
	}
	return off
}

func (p *jsonParser) token() (json.Token, int, *Problem) {
	off := p.start()
	t, err := p.dec.Token()
	if err == nil {
		return t, off, nil
	}
	var syn *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, off, p.problem(len(p.src.data), "the file ends in the middle of the configuration", "")
	case errors.As(err, &syn):
		if off < len(p.src.data) && strings.IndexByte(`"{}[]:,`, p.src.data[off]) < 0 {
			p.src.hideRest(off)
		}
		return nil, off, p.problem(off, "not JSON: "+withoutCharacter(syn.Error()), "")
	}
	return nil, off, p.problem(off, "not JSON", "")
}

func (p *jsonParser) value(depth int) (*node, *Problem) {
	t, off, bad := p.token()
	if bad != nil {
		return nil, bad
	}
	n := &node{src: p.src, off: off}
	if depth > maxDepth {
		return nil, p.problem(off, "nested too deep", "")
	}
	switch v := t.(type) {
	case nil:
		n.kind = kNull
	case bool:
		n.kind, n.text = kBool, fmt.Sprint(v)
	case json.Number:
		n.kind, n.text = kNumber, v.String()
		p.src.bare = append(p.src.bare, span{off, off + len(n.text), true})
	case string:
		n.text = v
	case json.Delim:
		if v == '[' {
			return n, p.list(n, depth)
		}
		return n, p.object(n, depth)
	}
	return n, nil
}

func (p *jsonParser) list(n *node, depth int) *Problem {
	n.kind = kList
	for p.dec.More() {
		v, bad := p.value(depth + 1)
		if bad != nil {
			return bad
		}
		n.list = append(n.list, v)
	}
	_, _, bad := p.token()
	return bad
}

func (p *jsonParser) object(n *node, depth int) *Problem {
	n.kind = kObject
	for p.dec.More() {
		k, off, bad := p.token()
		if bad != nil {
			return bad
		}
		v, bad := p.value(depth + 1)
		if bad != nil {
			return bad
		}
		key, _ := k.(string)
		n.entries = append(n.entries, &entry{key: key, off: off, val: v, assigned: true})
	}
	_, _, bad := p.token()
	return bad
}

// withoutLastCommas blanks commas after the last element of an object or a
// list, as templates that write configurations leave them and Vault Agent
// passes over them.
func withoutLastCommas(data []byte, strings []span) []byte {
	out := data
	last := -1 // the comma that nothing has followed yet
	for i := 0; i < len(data); i++ {
		switch c := data[i]; c {
		case '"':
			last = -1
			if len(strings) > 0 { // to its closing quote
				i, strings = strings[0].to, strings[1:]
			}
		case ' ', '\t', '\r', '\n':
		case '}', ']':
			if last >= 0 {
				if &out[0] == &data[0] {
					out = bytes.Clone(data)
				}
				out[last] = ' '
			}
			last = -1
		case ',':
			// Only a comma after something: not [,] and not two in a row.
			if before := bytes.TrimRight(data[:i], " \t\r\n"); last < 0 && len(before) > 0 && before[len(before)-1] != '{' && before[len(before)-1] != '[' {
				last = i
			} else {
				last = -1
			}
		default:
			last = -1
		}
	}
	return out
}

// jsonStrings finds the insides of all strings, for hiding them in messages.
func jsonStrings(data []byte) []span {
	var out []span
	for i := 0; i < len(data); i++ {
		if data[i] != '"' {
			continue
		}
		from := i + 1
		for i = from; i < len(data) && data[i] != '"'; i++ {
			if data[i] == '\\' {
				i++
			}
		}
		out = append(out, span{from: from, to: min(i, len(data))})
	}
	return out
}

// withoutCharacter takes the character out of encoding/json's message, unless
// it is JSON's own: it may be part of a secret without quotes.
func withoutCharacter(msg string) string {
	rest, ok := strings.CutPrefix(msg, "invalid character '")
	if !ok {
		return msg
	}
	char, rest, ok := strings.Cut(rest, "' ")
	if !ok {
		return msg
	}
	if strings.Contains(`"{}[]:,`, char) {
		return "unexpected " + char + " " + rest
	}
	return "unexpected character " + rest
}
