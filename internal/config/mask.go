package config

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maskHCL prepares a file for hclsyntax.LexConfig, whose grammar reads more
// into strings than HCL1 did: interpolation, other heredoc rules, no line
// breaks. It returns as many bytes, with the inside of every string and heredoc
// blanked out as one plain quoted string of the same length, and with spaces for
// comments and line breaks. So each token's offset is also its offset in the
// file, where the value is then read by HCL1's rules. The spans of the blanked
// insides are noted in src.
func maskHCL(src *source) ([]byte, *Problem) {
	in := src.data
	out := bytes.Clone(in)
	if bytes.HasPrefix(in, bom) {
		copy(out, "   ")
	}
	m := masker{in: in, out: out, src: src}
	for i := 0; i < len(in); {
		var bad *Problem
		i, bad = m.step(i)
		if bad != nil {
			return nil, bad
		}
	}
	return out, nil
}

type masker struct {
	in, out []byte
	src     *source
	// runaway counts strings whose ${ never closes; each costs a look at the
	// rest of the file, so they are few or the file is refused.
	runaway int
}

const maxRunaway = 16

// step handles what starts at i and returns where the next thing starts.
func (m *masker) step(i int) (int, *Problem) {
	rest := m.in[i:]
	switch {
	case rest[0] == '#' || bytes.HasPrefix(rest, []byte("//")):
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			n = len(rest)
		}
		m.blank(i, i+n, ' ')
		return i + n, nil
	case bytes.HasPrefix(rest, []byte("/*")):
		n := bytes.Index(rest[2:], []byte("*/"))
		if n < 0 {
			return 0, m.problem(i, "this comment is never closed", `end it with "*/"`)
		}
		m.blank(i, i+n+4, ' ')
		return i + n + 4, nil
	case rest[0] == '"':
		end := m.stringEnd(i)
		if end < 0 {
			eol := bytes.IndexByte(rest, '\n')
			if eol < 0 {
				eol = len(rest)
			}
			m.src.strings = append(m.src.strings, span{from: i + 1, to: i + eol})
			return 0, m.problem(i, "this string is never closed",
				`end it with " on the same line; use a heredoc (<<EOF) for text of several lines`)
		}
		m.src.strings = append(m.src.strings, span{from: i + 1, to: end})
		m.blank(i+1, end, '_')
		return end + 1, nil
	case bytes.HasPrefix(rest, []byte("<<")):
		return m.heredoc(i)
	case rest[0] == 0:
		return 0, m.problem(i, "a NUL byte", "the file is no text file, or is not UTF-8")
	case rest[0] == '\r' || rest[0] == '\n':
		// HCL1 does not look at line breaks; without them there are fewer tokens.
		m.out[i] = ' '
	}
	return i + 1, nil
}

func (m *masker) problem(off int, text, hint string) *Problem {
	return &Problem{Pos: m.src.pos(off), Text: text, Hint: hint, Source: m.src.line(off)}
}

func (m *masker) blank(from, to int, with byte) {
	for i := from; i < to; i++ {
		m.out[i] = with
	}
}

// stringEnd is the offset of the quote that closes the string opened at i, or
// -1. As in HCL1, quotes and line breaks inside ${ } belong to the string; a
// ${ that never closes is ordinary text.
func (m *masker) stringEnd(i int) int {
	open := -1 // where the outermost open ${ began
	braces := 0
	plain := m.runaway >= maxRunaway
	for j := i + 1; j < len(m.in); j++ {
		switch c := m.in[j]; {
		case c == '\\':
			j++
			if j < len(m.in) && m.in[j] == '\n' && braces == 0 {
				return -1
			}
		case braces == 0 && c == '\n':
			return -1
		case braces == 0 && c == '"':
			return j
		case braces == 0 && !plain && c == '$' && j+1 < len(m.in) && m.in[j+1] == '{':
			open, braces = j, 1
			j++
		case braces > 0 && c == '{':
			braces++
		case braces > 0 && c == '}':
			braces--
		}
		if j >= len(m.in)-1 && braces > 0 && !plain {
			m.runaway++
			plain, braces = true, 0
			j = open + 1
		}
	}
	return -1
}

// heredoc masks <<EOF and <<-EOF. The line that ends it may be indented in
// both forms.
func (m *masker) heredoc(i int) (int, *Problem) {
	mark, body, ok := heredocMark(m.in[i:])
	if !ok {
		return 0, m.problem(i, "a heredoc begins with << and a name, and nothing else follows on its line",
			"for example <<EOF")
	}
	for at := i + body; at < len(m.in); {
		line := m.in[at:]
		n := bytes.IndexByte(line, '\n')
		if n >= 0 {
			line = line[:n]
		}
		if string(bytes.Trim(line, " \t\r\v\f")) == mark && !hasTrailingBlank(line) {
			end := at + len(bytes.TrimRight(line, "\r"))
			m.src.strings = append(m.src.strings, span{from: i + body, to: end - len(mark)})
			m.blank(i, end, '_')
			m.out[i], m.out[end-1] = '"', '"'
			return end, nil
		}
		if n < 0 {
			break
		}
		at += n + 1
	}
	return 0, m.problem(i, "this heredoc is never closed",
		"a line that holds nothing but "+mark+" ends it")
}

func hasTrailingBlank(line []byte) bool {
	line = bytes.TrimRight(line, "\r")
	return len(line) > 0 && strings.IndexByte(" \t\v\f", line[len(line)-1]) >= 0
}

// heredocMark splits the first line of a heredoc: its closing word, and the
// offset of its body.
func heredocMark(b []byte) (mark string, body int, ok bool) {
	i := len("<<")
	if i < len(b) && b[i] == '-' {
		i++
	}
	from := i
	for i < len(b) {
		r, size := utf8.DecodeRune(b[i:])
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			break
		}
		i += size
	}
	mark = string(b[from:i])
	if bytes.HasPrefix(b[i:], []byte("\r\n")) {
		i++
	}
	if mark == "" || i >= len(b) || b[i] != '\n' {
		return "", 0, false
	}
	return mark, i + 1, true
}

// heredocText is the value of the heredoc that b is, from << to its closing
// word. With <<- the indentation of the closing line is taken from every line,
// provided that every line has it; HCL2 would take the smallest.
func heredocText(b []byte) string {
	mark, body, _ := heredocMark(b)
	text := string(b[body : len(b)-len(mark)])
	if b[2] != '-' {
		return text
	}
	lines := strings.Split(text, "\n")
	indent := lines[len(lines)-1]
	for _, l := range lines {
		if !strings.HasPrefix(l, indent) {
			return strings.TrimRight(text, " \t")
		}
	}
	for i := range lines {
		lines[i] = lines[i][len(indent):]
	}
	return strings.Join(lines, "\n")
}

// unquoteHCL is the value of a string's inside: Go's escapes, except that a
// ${ } is copied as it stands. On failure it returns the offset of the escape
// that it does not know.
func unquoteHCL(s string) (val string, bad int) {
	if !strings.ContainsRune(s, '\\') {
		return s, -1
	}
	var b strings.Builder
	plain := false
	for i := 0; i < len(s); {
		if !plain && strings.HasPrefix(s[i:], "${") {
			if n := closingBrace(s[i+2:]); n >= 0 {
				b.WriteString(s[i : i+2+n])
				i += 2 + n
				continue
			}
			plain = true
		}
		if s[i] != '\\' {
			b.WriteByte(s[i])
			i++
			continue
		}
		r, multibyte, tail, err := strconv.UnquoteChar(s[i:], '"')
		if err != nil {
			return "", i
		}
		if multibyte {
			b.WriteRune(r)
		} else {
			b.WriteByte(byte(r))
		}
		i = len(s) - len(tail)
	}
	return b.String(), -1
}

// closingBrace is the offset after the brace that closes an open one, or -1.
func closingBrace(s string) int {
	depth := 1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}
