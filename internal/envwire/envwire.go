// Package envwire is the few bytes between who knows the values of a program's
// environment and the small program that starts it: where they meet, and what is
// said there.
//
// One connection is one answer. The side that starts a program connects, sends
// nothing, reads until the other closes, and decodes. Both sides look at who is at
// the other end and have nothing to do with another user.
//
// It imports next to nothing, since a program of little more than a megabyte links
// it.
package envwire

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Answer is what becomes of an environment.
type Answer struct {
	// Set are the variables to be set, sorted by their names.
	Set []Pair
	// Unset are names to be taken out before that; with a * at the end, all names
	// that begin so. Sorted.
	Unset []string
	// Err says why there are no values, for people, and with none of them in it; ""
	// when all is well. Set is empty beside it.
	Err string
}

// Pair is a variable. Value is a secret, and printed by no verb of an Answer.
type Pair struct {
	Name, Value string
}

const (
	// magic begins an answer; its number moves when the form does.
	magic = "latchkey-env 1\n"
	// MaxEntry is how long NAME=value may be on Linux, in bytes.
	MaxEntry = 128<<10 - 1
	// MaxSize is how long an encoded answer may be, in bytes; a whole environment
	// and the arguments share less on Linux by default.
	MaxSize = 4 << 20
)

// The ways in which an answer can be none.
var (
	// ErrShort: the other side ended in the middle.
	ErrShort = errors.New("the answer ended in the middle")
	// ErrForeign: it speaks something else, or another version.
	ErrForeign = errors.New("the answer is not in the form that is known here: the extension and the wrapper are of different releases, or something else listens there")
	// ErrMalformed: it is in the known form and breaks its rules.
	ErrMalformed = errors.New("the answer is malformed")
)

// Matches reports whether a name is among names as Unset has them: of those that end
// in * each stands for all that begin so.
func Matches(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		beginning, all := strings.CutSuffix(n, "*")
		return n == name || all && strings.HasPrefix(name, beginning)
	})
}

// Encode puts a into bytes, sorted, and without Set beside an Err. An error names the
// variable that can be in no environment.
func Encode(a Answer) ([]byte, error) {
	// By pointers: to sort pairs would be nine kilobytes more of generic code.
	var set []*Pair
	if a.Err == "" {
		for i := range a.Set {
			set = append(set, &a.Set[i])
		}
	}
	slices.SortFunc(set, func(x, y *Pair) int { return strings.Compare(x.Name, y.Name) })
	unset := slices.Clone(a.Unset)
	slices.Sort(unset)
	unset = slices.Compact(unset)
	for i, p := range set {
		if why := Check(p.Name, p.Value); why != "" {
			return nil, errors.New(strconv.Quote(p.Name) + " " + why)
		}
		if i > 0 && set[i-1].Name == p.Name {
			return nil, errors.New(p.Name + " is set twice")
		}
	}
	b := []byte(magic + "\x00\x00\x00\x00")
	b = appendUint(b, len(unset))
	for _, name := range unset {
		b = appendText(b, name)
	}
	b = appendUint(b, len(set))
	for _, p := range set {
		b = appendText(appendText(b, p.Name), p.Value)
	}
	b = appendText(b, a.Err)
	if len(b) > MaxSize {
		return nil, errors.New("all values together are longer than an environment can be (" + strconv.Itoa(MaxSize) + " bytes)")
	}
	appendUint(b[:len(magic)], len(b)-len(magic)-4)
	return b, nil
}

// Check says why a variable can be in no environment, or "". The text says nothing
// of the value but its length.
func Check(name, value string) string {
	switch {
	case name == "":
		return "is no name of a variable: it is empty"
	case strings.ContainsAny(name, "=\x00"):
		return "is no name of a variable: it holds = or NUL"
	case strings.IndexByte(value, 0) >= 0:
		return "has a value with a NUL byte in it, which no variable can hold; a file can"
	case len(name)+1+len(value) > MaxEntry:
		return "has a value of " + strconv.Itoa(len(value)) + " bytes, more than a variable can hold (" + strconv.Itoa(MaxEntry) + " with its name); a file can"
	}
	return ""
}

// Decode takes the bytes of one whole answer apart. What Encode would not have made
// is refused.
func Decode(b []byte) (Answer, error) {
	var a Answer
	if len(b) < len(magic)+4 {
		if strings.HasPrefix(magic, string(b[:min(len(b), len(magic))])) {
			return a, ErrShort
		}
		return a, ErrForeign
	}
	if string(b[:len(magic)]) != magic {
		return a, ErrForeign
	}
	d := decoder{rest: b[len(magic):]}
	switch size := d.uint(); {
	case size > MaxSize:
		return a, ErrMalformed
	case size > len(d.rest):
		return a, ErrShort
	case size < len(d.rest):
		return a, ErrMalformed
	}
	for n := d.count(4); n > 0; n-- {
		a.Unset = append(a.Unset, d.text())
	}
	for n := d.count(8); n > 0; n-- {
		a.Set = append(a.Set, Pair{d.text(), d.text()})
	}
	a.Err = d.text()
	if d.bad || len(d.rest) > 0 || !a.sound() {
		return Answer{}, ErrMalformed
	}
	return a, nil
}

// sound reports whether Encode could have made a.
func (a Answer) sound() bool {
	for i, p := range a.Set {
		if Check(p.Name, p.Value) != "" || i > 0 && a.Set[i-1].Name >= p.Name {
			return false
		}
	}
	for i := 1; i < len(a.Unset); i++ {
		if a.Unset[i-1] >= a.Unset[i] {
			return false
		}
	}
	return a.Err == "" || len(a.Set) == 0
}

func appendUint(b []byte, n int) []byte {
	return append(b, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func appendText(b []byte, s string) []byte { return append(appendUint(b, len(s)), s...) }

// decoder takes numbers and texts off rest; once something was not there, bad stays
// set and nothing more comes.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) uint() int {
	if d.bad || len(d.rest) < 4 {
		d.bad = true
		return 0
	}
	n := uint32(d.rest[0])<<24 | uint32(d.rest[1])<<16 | uint32(d.rest[2])<<8 | uint32(d.rest[3])
	d.rest = d.rest[4:]
	if n > MaxSize {
		d.bad = true
		return MaxSize + 1
	}
	return int(n)
}

// count is a number of things of at least so many bytes each: more than there is
// room for is refused before anything is made for it.
func (d *decoder) count(least int) int {
	n := d.uint()
	if d.bad || n > len(d.rest)/least {
		d.bad = true
		return 0
	}
	return n
}

func (d *decoder) text() string {
	n := d.uint()
	if d.bad || n > len(d.rest) {
		d.bad = true
		return ""
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s
}

// String is the shape of an answer, never a value.
func (a Answer) String() string {
	if a.Err != "" {
		return "answer without values: " + a.Err
	}
	return "answer that sets " + strconv.Itoa(len(a.Set)) + " variables"
}

// GoString implements fmt.GoStringer.
func (a Answer) GoString() string { return a.String() }

// MarshalText implements encoding.TextMarshaler, and with it encoding/json.
func (a Answer) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// String is the name; the value stays in.
func (p Pair) String() string { return p.Name }

// GoString implements fmt.GoStringer.
func (p Pair) GoString() string { return p.Name }

// MarshalText implements encoding.TextMarshaler, and with it encoding/json.
func (p Pair) MarshalText() ([]byte, error) { return []byte(p.Name), nil }
