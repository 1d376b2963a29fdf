package aws

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// element finds the first element of a name in what STS answers, and gives what is
// between its tags. The answers are flat and machine-written, so that this is all
// there is to understand; encoding/xml would weigh more than the rest of this room.
// Comments and CDATA sections do not occur and are not understood.
func element(doc, name string) (inner string, ok bool) {
	for rest := doc; ; {
		i := strings.Index(rest, "<"+name)
		if i < 0 {
			return "", false
		}
		rest = rest[i+1+len(name):]
		if rest == "" || !strings.Contains("> \t\r\n/", rest[:1]) {
			continue // the beginning of a longer name
		}
		end := strings.IndexByte(rest, '>')
		if end < 0 {
			return "", false
		}
		if strings.HasSuffix(rest[:end], "/") {
			return "", true
		}
		rest = rest[end+1:]
		if end = strings.Index(rest, "</"+name+">"); end < 0 {
			return "", false
		}
		return rest[:end], true
	}
}

// text is the text of an element, "" when it is not there or holds elements itself.
func text(doc, name string) string {
	inner, _ := element(doc, name)
	if strings.Contains(inner, "<") {
		return ""
	}
	return strings.TrimSpace(unescape(inner))
}

// unescape resolves entities; what is none stays as it is.
func unescape(s string) string {
	if !strings.Contains(s, "&") {
		return s
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '&')
		if i < 0 {
			break
		}
		b.WriteString(s[:i])
		s = s[i:]
		end := strings.IndexByte(s, ';')
		if end < 0 {
			break
		}
		if r, ok := entity(s[1:end]); ok {
			b.WriteRune(r)
			s = s[end+1:]
			continue
		}
		b.WriteByte('&')
		s = s[1:]
	}
	b.WriteString(s)
	return b.String()
}

func entity(name string) (rune, bool) {
	switch name {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	digits, ok := strings.CutPrefix(name, "#")
	if !ok {
		return 0, false
	}
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 31)
	r := rune(n)
	return r, err == nil && utf8.ValidRune(r)
}

// complaint is the code and the message of an error that AWS wrote, as XML or as
// JSON; both are empty when it is neither, for a page of somebody in between says
// nothing to anybody.
func complaint(body []byte) (code, message string) {
	doc := strings.TrimSpace(string(body))
	if strings.HasPrefix(doc, "{") {
		var j struct{ Code, Message string }
		if json.Unmarshal(body, &j) != nil {
			return "", ""
		}
		return j.Code, j.Message
	}
	if inner, ok := element(doc, "Error"); ok {
		return text(inner, "Code"), text(inner, "Message")
	}
	return "", ""
}
