package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"

	"latchkey/internal/exchange"
)

// Key tells requests apart: two that the server could answer differently never
// share one.
type Key [sha256.Size]byte

// course says how a request goes through the cache.
type course uint8

const (
	// alone: past the cache, and shared with nobody.
	alone course = iota
	// fill: from the server, and kept.
	fill
	// newest: as usual for what has a lease, which is of no age; all else as fill.
	newest
	// usual: from memory, else from the server, and kept.
	usual
)

// keyRoom is what the parts of an ordinary request need; a longer one is put
// together on the heap.
const keyRoom = 768

// keyOf gives a request's key. Each part has its length in front, so that no two
// lists of parts are the same bytes. extra are canonical header names, sorted.
//
// What spells the same thing in several ways enters in one: the namespace in the
// header and in the path, escapes that need not be, the order of the query. A path
// whose meaning depends on who cleans it (empty or dot segments, an escaped
// slash) has no key.
//
// said is whether the client asked for an answer to be kept.
func keyOf(a *exchange.Ask, extra []string) (k Key, how course, said bool) {
	var others [8]string // further headers of the server's
	h := headersOf(a.Header, others[:0])
	if h.course == alone {
		return Key{}, alone, false
	}
	var stack [keyRoom]byte
	b := appendText(stack[:0], a.Method)
	at := len(b)
	b, ok := appendPath(append(b, 0, 0, 0, 0), a.Namespace, a.Path)
	if !ok {
		return Key{}, alone, false
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	if b, ok = appendQuery(b, a.Query); !ok {
		return Key{}, alone, false
	}
	switch {
	case a.Who.Lent != "":
		b = appendText(append(b, 'L'), a.Who.Lent)
	case !a.Who.Token.Empty():
		b = appendText(append(b, 'T'), a.Who.Token.Reveal())
	default:
		b = append(b, 'N')
	}
	if len(a.Body) > 0 {
		sum := sha256.Sum256(a.Body)
		b = append(append(b, 'B'), sum[:]...)
		b = appendHeader(b, a.Header, "Content-Type")
		b = appendHeader(b, a.Header, "Content-Encoding")
	}
	if len(h.others) > 0 {
		slices.Sort(h.others)
		b = append(b, 'O')
		for _, name := range h.others {
			b = appendHeader(b, a.Header, name)
		}
	}
	for _, name := range extra {
		if len(a.Header[name]) > 0 {
			b = appendHeader(append(b, 'X'), a.Header, name)
		}
	}
	return sha256.Sum256(b), h.course, h.said
}

func appendText(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

func appendHeader(b []byte, h http.Header, name string) []byte {
	values := h[name]
	b = binary.LittleEndian.AppendUint32(appendText(b, name), uint32(len(values)))
	for _, v := range values {
		b = appendText(b, v)
	}
	return b
}

// prefix begins every path of the server's.
const prefix = "/v1/"

// longestNamespace is more than a server has.
const longestNamespace = 4096

// appendPath puts the namespace in front of the path. It refuses a path that has
// more than one reading, and those that are never kept: what wraps, unwraps and
// leases under sys/ is the server's own affair, each time.
func appendPath(b []byte, namespace, path string) ([]byte, bool) {
	if !strings.HasPrefix(path, prefix) || len(namespace) > longestNamespace {
		return b, false
	}
	start := len(b)
	b = appendNamespace(b, namespace)
	first := len(b)
	seg, sys := first, false
	for i := len(prefix); ; i++ {
		if i == len(path) || path[i] == '/' {
			s := b[seg:]
			switch {
			case len(s) == 0 && (i < len(path) || seg == first), len(s) == 1 && s[0] == '.', len(s) == 2 && s[0] == '.' && s[1] == '.':
				return b, false
			case sys && special(s):
				return b, false
			}
			sys = len(s) == 3 && string(s) == "sys"
			if sys && seg == first {
				return b, false
			}
			if i == len(path) {
				break
			}
			b = append(b, '/')
			seg = len(b)
			continue
		}
		c := path[i]
		if c == '%' {
			if i+2 >= len(path) {
				return b, false
			}
			hi, lo := unhex(path[i+1]), unhex(path[i+2])
			if hi > 15 || lo > 15 {
				return b, false
			}
			c = hi<<4 | lo
			i += 2
			if c == '/' || c == '\\' {
				return b, false
			}
			b = appendEscaped(b, c)
			continue
		}
		if c == '?' || c == '#' || c == '\\' {
			return b, false
		}
		b = append(b, c)
	}
	// A namespace can have segments that have more than one reading, too.
	return b, cleanNamespace(b[start:first])
}

// special says which parts of sys/ never have a key, even where a namespace
// stands in front of them in the path.
func special(segment []byte) bool {
	switch string(segment) {
	case "wrapping", "leases", "revoke", "revoke-prefix", "revoke-force", "renew", "metrics":
		return true
	}
	return false
}

// appendNamespace spells a header's namespace as it would be spelled in a path.
func appendNamespace(b []byte, namespace string) []byte {
	namespace = trimNamespace(namespace)
	if namespace == "" {
		return b
	}
	for i := range len(namespace) {
		if c := namespace[i]; c == '/' {
			b = append(b, c)
		} else {
			b = appendEscaped(b, c)
		}
	}
	return append(b, '/')
}

// trimNamespace yields "" for the root namespace, and has no slash at its ends.
func trimNamespace(namespace string) string {
	namespace = strings.Trim(namespace, "/ ")
	if namespace == "root" {
		return ""
	}
	return namespace
}

func cleanNamespace(b []byte) bool {
	seg := 0
	for i, c := range b {
		if c != '/' {
			continue
		}
		if s := string(b[seg:i]); s == "" || s == "." || s == ".." {
			return false
		}
		seg = i + 1
	}
	return true
}

// appendEscaped spells a byte in the one way that is used in keys: as it is if it
// never needs an escape, else escaped.
func appendEscaped(b []byte, c byte) []byte {
	if unreserved(c) {
		return append(b, c)
	}
	const hex = "0123456789ABCDEF"
	return append(b, '%', hex[c>>4], hex[c&15])
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// unhex gives a digit's value, and more than 15 for what is none.
func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// param is one parameter of a query, as it was sent.
type param struct{ name, value string }

// appendQuery sorts the parameters by name; those of one name stay in their
// order, which may mean something.
func appendQuery(b []byte, query string) ([]byte, bool) {
	if query == "" {
		return append(b, 0), true
	}
	var stack [8]param
	params := stack[:0]
	for query != "" {
		var one string
		one, query, _ = strings.Cut(query, "&")
		if one == "" {
			continue
		}
		name, value, _ := strings.Cut(one, "=")
		if !wellFormed(name) || !wellFormed(value) {
			return b, false
		}
		params = append(params, param{name, value})
	}
	for i := 1; i < len(params); i++ {
		for j := i; j > 0 && lessDecoded(params[j].name, params[j-1].name); j-- {
			params[j], params[j-1] = params[j-1], params[j]
		}
	}
	for _, p := range params {
		b = appendDecoded(append(b, 1), p.name)
		b = appendDecoded(b, p.value)
	}
	return append(b, 0), true
}

// wellFormed says whether part of a query can be decoded; servers do not agree
// about what is not, nor about the semicolon.
func wellFormed(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ';':
			return false
		case '%':
			if i+2 >= len(s) || unhex(s[i+1]) > 15 || unhex(s[i+2]) > 15 {
				return false
			}
			i += 2
		}
	}
	return true
}

// decoded gives the byte of a well-formed part of a query that begins at i, and
// where the next begins.
func decoded(s string, i int) (byte, int) {
	switch s[i] {
	case '+':
		return ' ', i + 1
	case '%':
		return unhex(s[i+1])<<4 | unhex(s[i+2]), i + 3
	}
	return s[i], i + 1
}

func lessDecoded(a, b string) bool {
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		var x, y byte
		x, i = decoded(a, i)
		y, j = decoded(b, j)
		if x != y {
			return x < y
		}
	}
	return i == len(a) && j < len(b)
}

func appendDecoded(b []byte, s string) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	for i := 0; i < len(s); {
		var c byte
		c, i = decoded(s, i)
		b = append(b, c)
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// headers is what the headers of a request mean for the cache.
type headers struct {
	course course
	said   bool     // cache, or recache
	others []string // those that belong to the key, besides the configured ones
}

// headersOf looks at all headers once. Those of the server's own that are not
// known here change its answer, for all we know. Others, as those that tracing
// adds, do not.
func headersOf(h http.Header, others []string) headers {
	out := headers{course: usual, others: others}
	for name, values := range h {
		if len(name) > 8 && (name[0] == 'X' || name[0] == 'x') && strings.EqualFold(name[:8], "X-Vault-") {
			switch name {
			case "X-Vault-Token", "X-Vault-Namespace", "X-Vault-Request", "X-Vault-Forward", "X-Vault-Inconsistent", "X-Vault-No-Request-Forwarding":
			case "X-Vault-Wrap-Ttl", "X-Vault-Mfa":
				return headers{course: alone}
			case "X-Vault-Index":
				// The answer has to be as new as that.
				out.course = min(out.course, newest)
			case "X-Vault-Cache-Control":
				var wish course
				wish, out.said = wished(values)
				out.course = min(out.course, wish)
			default:
				out.others = append(out.others, name)
			}
			continue
		}
		switch name {
		case "Authorization":
			if !bearer(values) {
				return headers{course: alone}
			}
		case "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range":
			return headers{course: alone}
		}
	}
	return out
}

// bearer says whether an Authorization is a token, which stands in Ask.Who.
func bearer(values []string) bool {
	const scheme = "Bearer "
	return len(values) == 1 && len(values[0]) > len(scheme) && strings.EqualFold(values[0][:len(scheme)], scheme)
}

// wished reads X-Vault-Cache-Control: the most careful of its words counts, and
// unknown ones do not. said is whether any of them asks for the answer to be kept.
func wished(values []string) (how course, said bool) {
	how = usual
	for _, list := range values {
		for list != "" {
			var word string
			word, list, _ = strings.Cut(list, ",")
			switch word = strings.TrimSpace(word); {
			case strings.EqualFold(word, "nocache"):
				return alone, false
			case strings.EqualFold(word, "recache"):
				how, said = fill, true
			case strings.EqualFold(word, "cache"):
				said = true
			}
		}
	}
	return how, said
}
