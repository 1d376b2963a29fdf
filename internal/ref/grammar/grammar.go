// Package grammar takes the value of a variable apart into the secrets that it
// refers to and the text around them. docs/references.md has the rules.
//
// It is a package of its own, and imports next to nothing, because the program
// that starts a function has to know a reference when it sees one and has no
// room for what resolves it. Nothing here says what is wrong with a value by
// quoting it: a body that is sent may hold a secret.
package grammar

import (
	"errors"
	"strings"
)

// Kind is what a Part stands for.
type Kind int

// The kinds.
const (
	Text   Kind = iota // as it stands
	Field              // a field of an answer
	Cipher             // transit ciphertext
	Login              // the token that the login gave
)

// Part is a piece of a value.
type Part struct {
	Kind Kind
	// Text is a Text itself, and the ciphertext of a Cipher, which begins with
	// "vault:v" however it was written.
	Text string
	// Write: the answer is that of a write; Tail is the JSON object it sends.
	Write bool
	// Path is an API path without slashes around it.
	Path string
	// Key is the name of a field, or a template over all fields where it holds "${".
	Key string
	// Tail is a version, or a body; empty for the newest, or for no fields.
	Tail string
}

// Template reports whether the key is a template and no name.
func (p Part) Template() bool { return strings.Contains(p.Key, "${") }

const login = "login"

var schemes = [...]string{"vault:", "bao:"}

// LoginName reports whether a variable of that name may be "vault:login".
func LoginName(name string) bool { return name == "VAULT_TOKEN" || name == "BAO_TOKEN" }

// Parse takes the value of the variable name apart. No parts and no error mean that
// it refers to nothing; an error, that it does, in a way that cannot be followed.
func Parse(name, value string) ([]Part, error) {
	if rest, ok := scheme(value); ok {
		switch {
		case rest == login && LoginName(name):
			return []Part{{Kind: Login}}, nil
		case isCipher(rest):
			return []Part{cipher(rest)}, nil
		}
	}
	if p, ok, err := whole(value); ok || err != nil {
		return []Part{p}, err
	}
	return inline(value)
}

// Near reports whether a value that refers to nothing looks as if it was meant to:
// it begins like a reference and has no key. That is worth a word and no more, since
// "vault:8200" is the name of a host.
func Near(value string) bool {
	rest, ok := scheme(strings.TrimPrefix(value, ">>"))
	if ok && (strings.Contains(rest, "/") || rest == login) {
		return true
	}
	return holds(value)
}

// holds reports whether s has the beginning of a reference in it.
func holds(s string) bool {
	for _, scheme := range schemes {
		if strings.Contains(s, "${"+scheme) || strings.Contains(s, "${>>"+scheme) {
			return true
		}
	}
	return false
}

// scheme cuts "vault:" or "bao:" off.
func scheme(s string) (rest string, ok bool) {
	for _, scheme := range schemes {
		if rest, ok := strings.CutPrefix(s, scheme); ok {
			return rest, true
		}
	}
	return s, false
}

// isCipher: "v", digits, ":", anything.
func isCipher(rest string) bool {
	digits, text, ok := strings.Cut(rest, ":")
	if !ok || text == "" || len(digits) < 2 || digits[0] != 'v' {
		return false
	}
	return strings.Trim(digits[1:], "0123456789") == ""
}

func cipher(rest string) Part { return Part{Kind: Cipher, Text: "vault:" + rest} }

// open is scheme for what may be a write.
func open(s string) (rest string, write, ok bool) {
	s, write = strings.CutPrefix(s, ">>")
	rest, ok = scheme(s)
	return rest, write, ok
}

// whole takes a value apart that is one reference.
func whole(value string) (Part, bool, error) {
	rest, write, ok := open(value)
	if !ok {
		return Part{}, false, nil
	}
	path, rest, ok := strings.Cut(rest, "#")
	if !ok {
		return Part{}, false, nil
	}
	key, tail, _ := strings.Cut(rest, "#")
	p, err := field(write, path, key, tail)
	return p, true, err
}

func field(write bool, path, key, tail string) (Part, error) {
	p := Part{Kind: Field, Write: write, Path: strings.Trim(path, "/"), Key: key, Tail: tail}
	switch {
	case holds(path), holds(key), holds(tail):
		return p, errors.New("a reference inside of a reference")
	case p.Path == "":
		return p, errors.New("a reference without a path before its #")
	case !plain(p.Path):
		return p, errors.New("a path with a control character in it, an empty segment, or . or .. as one")
	case key == "":
		return p, errors.New("a reference without a key after its #")
	case strings.IndexByte(key, 0) >= 0:
		return p, errors.New("a key with a NUL in it")
	case !write && !isVersion(tail):
		return p, errors.New("a version that is no number, after the second #")
	case !write && (strings.HasPrefix(tail, "-") || strings.Trim(tail, "0") == ""):
		p.Tail = "" // 0 and less are the newest, too
	}
	return p, nil
}

// plain reports whether a path means what it says.
func plain(path string) bool {
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "" || seg == "." || seg == ".." {
			return false
		}
	}
	return strings.IndexFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

func isVersion(tail string) bool {
	digits := strings.TrimPrefix(tail, "-")
	return len(digits) < 19 && strings.Trim(digits, "0123456789") == "" && (digits != "" || tail == "")
}
