package cache

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// top holds the top-level fields of one of the server's answers. The raw fields
// are parts of the body as they stand there; nil for null or missing.
type top struct {
	leaseID       string
	renewable     bool
	leaseDuration int64 // seconds
	hasAuth       bool
	hasWrap       bool
	auth, data    []byte
	mountType     string
}

// scan reads the top level of an answer and steps over all below. It refuses
// what is not one object, and a field whose type is not the server's; whether
// what it stepped over is JSON, json.Valid tells.
func scan(body []byte) (top, bool) {
	var t top
	s := scanner{b: body}
	s.space()
	if !s.eat('{') {
		return t, false
	}
	s.space()
	if s.eat('}') {
		return t, s.end()
	}
	for {
		s.space()
		name, ok := s.text()
		if !ok || bytes.IndexByte(name, '\\') >= 0 {
			return t, false
		}
		s.space()
		if !s.eat(':') {
			return t, false
		}
		s.space()
		value, ok := s.value()
		if !ok || !t.set(name, value) {
			return t, false
		}
		s.space()
		if s.eat('}') {
			return t, s.end()
		}
		if !s.eat(',') {
			return t, false
		}
	}
}

// set takes a field; of several with one name the last counts, as everywhere.
func (t *top) set(name, value []byte) bool {
	null := string(value) == "null"
	switch string(name) {
	case "lease_id":
		t.leaseID = ""
		return null || stringOf(value, &t.leaseID)
	case "mount_type":
		t.mountType = ""
		return null || stringOf(value, &t.mountType)
	case "renewable":
		t.renewable = string(value) == "true"
		return null || t.renewable || string(value) == "false"
	case "lease_duration":
		t.leaseDuration = 0
		if null {
			return true
		}
		n, ok := integer(value)
		t.leaseDuration = n
		return ok
	case "auth":
		t.auth = orNil(value, null)
		t.hasAuth = !null
	case "wrap_info":
		t.hasWrap = !null
	case "data":
		t.data = orNil(value, null)
	}
	return true
}

func orNil(value []byte, null bool) []byte {
	if null {
		return nil
	}
	return value
}

// stringOf reads a JSON string. The names that the server uses need no
// allocation; an id does.
func stringOf(value []byte, to *string) bool {
	if len(value) < 2 || value[0] != '"' {
		return false
	}
	switch inner := value[1 : len(value)-1]; {
	case len(inner) == 0:
		*to = ""
	case string(inner) == "kv":
		*to = "kv"
	case plain(inner):
		*to = string(inner)
	default:
		var text string // escapes to the heap, and the answer must not
		if json.Unmarshal(value, &text) != nil {
			return false
		}
		*to = text
	}
	return true
}

// plain says whether the inside of a JSON string stands for itself.
func plain(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == '\\' || c >= 0x80 {
			return false
		}
	}
	return true
}

func integer(value []byte) (int64, bool) {
	if len(value) == 0 || len(value) > 20 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	digits := bytes.TrimPrefix(value, []byte("-"))
	// JSON knows neither a plus sign nor leading zeros.
	return n, err == nil && digits[0] != '+' && (digits[0] != '0' || len(digits) == 1)
}

type scanner struct {
	b []byte
	i int
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

func (s *scanner) eat(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// end says whether nothing but white space is left.
func (s *scanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

// text steps over a string and gives its inside, with its escapes.
func (s *scanner) text() ([]byte, bool) {
	if !s.eat('"') {
		return nil, false
	}
	start := s.i
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case '"':
			s.i++
			return s.b[start : s.i-1], true
		case '\\':
			s.i++
		}
		s.i++
	}
	return nil, false
}

// value steps over a value of any kind and gives it as it stands.
func (s *scanner) value() ([]byte, bool) {
	start := s.i
	if s.i >= len(s.b) {
		return nil, false
	}
	switch s.b[s.i] {
	case '"':
		if _, ok := s.text(); !ok {
			return nil, false
		}
		return s.b[start:s.i], true
	case '{', '[':
		for depth := 0; s.i < len(s.b); {
			switch s.b[s.i] {
			case '"':
				if _, ok := s.text(); !ok {
					return nil, false
				}
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			s.i++
			if depth == 0 {
				return s.b[start:s.i], true
			}
		}
		return nil, false
	}
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return s.b[start:s.i], s.i > start
		}
		s.i++
	}
	return nil, false
}
