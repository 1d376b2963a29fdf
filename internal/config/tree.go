package config

import (
	"bytes"
	"slices"
	"sort"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// kind is what a value in a file is.
type kind int

const (
	kString kind = iota
	kNumber
	kBool
	kNull
	kList
	kObject
)

func (k kind) String() string {
	switch k {
	case kString:
		return "a string"
	case kNumber:
		return "a number"
	case kBool:
		return "true or false"
	case kNull:
		return "null"
	case kList:
		return "a list"
	}
	return "a block"
}

// node is one value. Both parsers build it, and the decoders read nothing else.
type node struct {
	kind kind
	off  int // where it starts in its source
	src  *source
	// text is the value of a string, the digits of a number as they stand in
	// the file, or "true" and "false".
	text    string
	list    []*node
	entries []*entry
}

// json says that HCL's octal rule for numbers does not apply.
func (n *node) json() bool { return n.src.json }

// entry is one key of an object: an attribute or a block.
type entry struct {
	key    string
	off    int
	labels []label
	val    *node
	// assigned tells `a = {}` and every JSON key from the block `a {}`.
	assigned bool
}

type label struct {
	text string
	off  int
}

// source is one file, kept for positions and for the lines that messages show.
type source struct {
	name string
	data []byte
	json bool
	// called is set where there is no file: the user has other names for the keys.
	called Naming
	// strings are the spans of all quoted strings and heredocs, in order.
	strings []span
	// bare are the spans of numbers, and of what stands where a value was
	// expected, in order: a secret may have been left without its quotes.
	bare []span

	once   sync.Once
	starts []int // offset of each line
	runes  []int // characters before each multiple of runeStep

	findHeaders sync.Once
	headers     []span // maps of headers

	mu       sync.Mutex
	lastLine int // the line that lastText shows, from 1
	lastText string
}

// runeStep keeps columns cheap in files of one long line, as generated JSON is.
const runeStep = 512

// index notes where lines begin and how many characters precede each step.
func (s *source) index() {
	s.starts = append(s.starts, 0)
	n := 0
	for i, c := range s.data {
		if i%runeStep == 0 {
			s.runes = append(s.runes, n)
		}
		if utf8.RuneStart(c) {
			n++
		}
		if c == '\n' {
			s.starts = append(s.starts, i+1)
		}
	}
}

// runesBefore counts the characters before an offset.
func (s *source) runesBefore(off int) int {
	step := min(off/runeStep, len(s.runes)-1)
	if step < 0 {
		return 0
	}
	n := s.runes[step]
	for _, c := range s.data[step*runeStep : off] {
		if utf8.RuneStart(c) {
			n++
		}
	}
	return n
}

// span is a half-open range of bytes: the inside of a string, or something bare.
type span struct {
	from, to int
	bare     bool
}

// hideRest notes what stands from off to the end of its line as a bare value.
func (s *source) hideRest(off int) {
	to := len(s.data)
	if i := bytes.IndexByte(s.data[off:], '\n'); i >= 0 {
		to = off + i
	}
	s.bare = append(s.bare, span{off, to, true})
}

// spans are those that reach into a range, in order.
func (s *source) spans(from, to int) []span {
	var out []span
	for _, list := range [][]span{s.strings, s.bare} {
		first := sort.Search(len(list), func(i int) bool { return list[i].to > from })
		for _, sp := range list[first:] {
			if sp.from >= to {
				break
			}
			out = append(out, sp)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].from < out[j].from })
	return out
}

func (s *source) lineOf(off int) int {
	s.once.Do(s.index)
	return sort.SearchInts(s.starts, off+1) - 1
}

// pos is the line and column, both from 1, of a byte offset. A column counts
// characters, so that an editor's cursor goes where the message says.
func (s *source) pos(off int) Pos {
	if s.called != nil {
		return Pos{File: s.name}
	}
	off = min(max(off, 0), len(s.data))
	line := s.lineOf(off)
	col := s.runesBefore(off) - s.runesBefore(s.starts[line]) + 1
	if line == 0 && bytes.HasPrefix(s.data, bom) && off >= len(bom) {
		col--
	}
	return Pos{File: s.name, Line: line + 1, Column: col}
}

// problem is one about a key at an offset.
func (s *source) problem(off int, key, text, hint string) *Problem {
	p := &Problem{Pos: s.pos(off), Key: key, Text: text, Hint: hint, Source: s.line(off)}
	s.rename(p)
	return p
}

// rename has a problem speak of a key as the user does.
func (s *source) rename(p *Problem) {
	if s.called == nil {
		return
	}
	if name := s.called(p.Key); name != "" {
		p.Key, p.Pos = name, Pos{}
	}
}

var bom = []byte("\xef\xbb\xbf")

// line is the line around off as a message may show it: without its break,
// and with every string hidden that could be a secret.
func (s *source) line(off int) string {
	off = min(max(off, 0), len(s.data))
	line := s.lineOf(off)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastLine != line+1 {
		s.lastLine, s.lastText = line+1, s.hiddenLine(line)
	}
	return s.lastText
}

func (s *source) hiddenLine(line int) string {
	from, to := s.starts[line], len(s.data)
	if line+1 < len(s.starts) {
		to = s.starts[line+1]
	}
	var out []byte
	at := from
	for _, sp := range s.spans(from, to) {
		if sp.to <= at || s.showable(sp) {
			continue
		}
		start, end := max(sp.from, at), min(sp.to, to)
		out = append(out, s.data[at:start]...)
		for _, c := range s.data[start:end] {
			if c != '\n' && c != '\r' && utf8.RuneStart(c) {
				out = append(out, '*')
			}
		}
		at = end
	}
	out = append(out, s.data[at:to]...)
	if line == 0 {
		out = bytes.TrimPrefix(out, bom)
	}
	return strings.Map(printable, string(bytes.TrimRight(out, "\r\n")))
}

// printable keeps a message from steering a terminal.
func printable(r rune) rune {
	if r != '\t' && !unicode.IsPrint(r) {
		return utf8.RuneError
	}
	return r
}

// showable says whether a message may show a string: it is a key or a label,
// or the value of a key that is known to hold no secret.
func (s *source) showable(sp span) bool {
	before := s.data[:sp.from]
	if !sp.bare {
		before = bytes.TrimSuffix(before, []byte{'"'})
	}
	before = bytes.TrimRight(before, " \t\r\n")
	if len(before) == 0 {
		return true
	}
	if c := before[len(before)-1]; c != '=' && c != ':' {
		return !sp.bare && isKeyHere(s.data[sp.to:])
	}
	if bytes.IndexByte(s.data[sp.from:sp.to], '@') >= 0 {
		return false // a URL may hold a password
	}
	before = bytes.TrimRight(before[:len(before)-1], " \t\r\n\"")
	i := len(before)
	for i > 0 && isKeyByte(before[i-1]) {
		i--
	}
	return harmless(string(before[i:])) && !s.inHeaders(sp.from)
}

// inHeaders reports whether an offset lies in a map of headers: the names in it
// are anybody's, and say nothing of their values.
func (s *source) inHeaders(off int) bool {
	s.findHeaders.Do(func() {
		const word = "otlp_headers"
		text := string(s.data)
		for from := 0; ; {
			n := strings.Index(text[from:], word)
			if n < 0 {
				return
			}
			start, end := from+n, len(text)
			if _, inside, ok := strings.Cut(text[start:], "{"); ok {
				if m := closingBrace(inside); m >= 0 {
					end = len(text) - len(inside) + m
				}
			}
			s.headers = append(s.headers, span{from: start, to: end})
			from = end
		}
	})
	return slices.ContainsFunc(s.headers, func(h span) bool { return h.from <= off && off < h.to })
}

// isKeyHere looks at what follows a string: a key is followed by an equals
// sign, a colon, a brace or (as a block's name is) by a label.
func isKeyHere(rest []byte) bool {
	if len(rest) > 0 && rest[0] == '"' {
		rest = rest[1:]
	}
	rest = bytes.TrimLeft(rest, " \t\r\n")
	return len(rest) > 0 && (rest[0] == '=' || rest[0] == ':' || rest[0] == '{' || rest[0] == '"')
}

func isKeyByte(c byte) bool {
	return c == '_' || c == '-' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// get is the last entry of that name, nil for none.
func (n *node) get(key string) *entry {
	for i := len(n.entries) - 1; i >= 0; i-- {
		if n.entries[i].key == key {
			return n.entries[i]
		}
	}
	return nil
}
