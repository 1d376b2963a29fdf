package grammar

import (
	"errors"
	"strings"
)

// inline takes a value apart that holds references between "${" and "}".
func inline(value string) ([]Part, error) {
	var parts []Part
	text, at, found := 0, 0, false
	for {
		i := strings.Index(value[at:], "${")
		if i < 0 {
			break
		}
		begin := at + i
		p, n, ok, err := enclosed(value[begin+2:])
		if err != nil {
			return nil, err
		}
		if !ok {
			at = begin + 2
			continue
		}
		if begin > text {
			parts = append(parts, Part{Text: value[text:begin]})
		}
		parts = append(parts, p)
		at, text, found = begin+2+n, begin+2+n, true
	}
	if !found {
		return nil, nil
	}
	if text < len(value) {
		parts = append(parts, Part{Text: value[text:]})
	}
	return parts, nil
}

// enclosed takes apart what follows a "${" and says how long it is, its "}"
// included. ok is false where it is no reference: a shell's ${vault:-none}, or
// something without an end.
func enclosed(s string) (p Part, length int, ok bool, err error) {
	rest, write, ok := open(s)
	if !ok {
		return p, 0, false, nil
	}
	done := func(left string) int { return len(s) - len(left) }
	i := strings.IndexAny(rest, "#}")
	if i < 0 {
		return p, 0, false, nil
	}
	if rest[i] == '}' {
		if inner := rest[:i]; !write && isCipher(inner) {
			return cipher(inner), done(rest[i+1:]), true, nil
		}
		return p, 0, false, nil
	}
	path := rest[:i]
	key, rest, closed := cutKey(rest[i+1:])
	if !closed {
		return p, 0, false, nil
	}
	tail := ""
	if rest[0] == '#' {
		after := rest[1:]
		if tail, rest, closed = cutTail(after, write); !closed {
			if strings.IndexByte(after, '}') < 0 {
				return p, 0, false, nil
			}
			return p, 0, true, errors.New("a reference in the text whose } does not follow the end of its JSON object")
		}
	}
	p, err = field(write, path, key, tail)
	return p, done(rest[1:]), true, err
}

// cutKey ends a key before the "#" or "}" after it, which left begins with. The
// "}" of a template, and what stands in quotes in it, is the template's.
func cutKey(s string) (key, left string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '#', '}':
			return s[:i], s[i:], true
		case '$':
			if !strings.HasPrefix(s[i:], "${") {
				continue
			}
			n := skip(s[i+2:], 0, '}')
			if n < 0 {
				return "", "", false
			}
			i += 2 + n
		}
	}
	return "", "", false
}

// cutTail ends a version or a body before the "}" after it.
func cutTail(s string, write bool) (tail, left string, ok bool) {
	end := 0
	if write && strings.HasPrefix(s, "{") {
		n := skip(s[1:], '{', '}')
		if n < 0 {
			return "", "", false
		}
		end = 1 + n + 1
		if !strings.HasPrefix(s[end:], "}") {
			return "", "", false
		}
		return s[:end], s[end:], true
	}
	if end = strings.IndexByte(s, '}'); end < 0 {
		return "", "", false
	}
	return s[:end], s[end:], true
}

// skip finds the shut that belongs to an open which was just passed, and -1 where
// there is none. What stands in quotes does not count: in double ones a backslash
// takes the next character along. An open of 0 does not nest, and knows the raw and
// the single quotes of a template besides.
func skip(s string, open, shut byte) int {
	depth := 1
	var quote byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == '\\' && quote != '`' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"', open == 0 && (c == '`' || c == '\''):
			quote = c
		case c == shut:
			if depth--; depth == 0 {
				return i
			}
		case open != 0 && c == open:
			depth++
		}
	}
	return -1
}
