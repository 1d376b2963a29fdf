package config

import (
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Block is the undecoded body of an auth method's or a sink's config. Its
// owner decodes it into a struct of its own. The zero Block is empty. A Block
// prints none of its values.
type Block struct {
	// Type is the method or sink it belongs to, for messages.
	Type string
	Pos  Pos

	path    string
	n       *node
	late    *lateWarnings
	lenient bool
}

// lateWarnings collects what owners of blocks find after Load has returned.
type lateWarnings struct {
	mu   sync.Mutex
	list []Warning
}

func (l *lateWarnings) add(p *Problem) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, Warning(*p))
}

// NewBlock makes a block from values in code, which may be strings, numbers, booleans,
// durations, file modes, slices and maps of these.
func NewBlock(typ string, values map[string]any) Block {
	return Block{Type: typ, n: nodeOf(outside, values)}
}

func nodeOf(src *source, v any) *node {
	n := &node{src: src}
	if m, ok := v.(fs.FileMode); ok {
		n.text = fmt.Sprintf("%#o", uint32(m))
		return n
	}
	rv := reflect.ValueOf(v)
	switch rv.Kind() {
	case reflect.Map:
		n.kind = kObject
		for _, k := range rv.MapKeys() {
			n.entries = append(n.entries, &entry{key: k.String(), val: nodeOf(src, rv.MapIndex(k).Interface()), assigned: true})
		}
		slices.SortFunc(n.entries, func(a, b *entry) int { return strings.Compare(a.key, b.key) })
	case reflect.Slice:
		n.kind = kList
		for i := range rv.Len() {
			n.list = append(n.list, nodeOf(src, rv.Index(i).Interface()))
		}
	case reflect.Bool:
		n.kind, n.text = kBool, fmt.Sprint(v)
	case reflect.Int, reflect.Int64, reflect.Float64, reflect.Uint32:
		n.kind, n.text = kNumber, fmt.Sprint(v)
	default:
		n.text = fmt.Sprint(v)
	}
	return n
}

// Has says whether the key stands in the block, even with an empty value.
func (b Block) Has(key string) bool { return b.n != nil && b.n.get(key) != nil }

// Keys lists the block's keys, sorted.
func (b Block) Keys() []string {
	if b.n == nil {
		return nil
	}
	var out []string
	for _, e := range b.n.entries {
		out = append(out, e.key)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Problem makes an error about one of the block's keys, at its place; about
// the block itself when the key is "" or is not there. The text must not
// quote a value that could be a secret.
func (b Block) Problem(key, text, hint string) *Problem {
	p := &Problem{Pos: b.Pos, Key: b.path, Text: text, Hint: hint}
	if p.Key == "" {
		p.Key = b.Type
	}
	if key != "" {
		p.Key = join(p.Key, key)
	}
	if b.n == nil || b.n.src == outside {
		return p
	}
	if e := b.n.get(key); e != nil {
		p.Pos, p.Source = b.n.src.pos(e.off), b.n.src.line(e.off)
	} else {
		p.Source = b.n.src.line(b.n.off)
	}
	b.n.src.rename(p)
	return p
}

// KeyPos is where a key stands; the block's own place when it is not there.
func (b Block) KeyPos(key string) Pos { return b.Problem(key, "", "").Pos }

// Decode fills the struct that v points to. Each exported field with a tag
// like `config:"role_id_file_path,required"` receives that key; others are
// left alone. Fields are string, bool, int, float64, time.Duration (seconds,
// or a string with a unit), fs.FileMode (octal), []string, map[string]string,
// or a pointer to one of the first six, nil when the key is not set. A key that
// is not set leaves its field as it was, so v holds the defaults.
//
// The error is Problems: every unknown key with the known one it resembles
// (a warning instead when the files were loaded leniently; see
// Loaded.LateWarnings), every value of the wrong kind, every required key that
// is missing or empty.
func (b Block) Decode(v any) error {
	fields := fieldsOf(v)
	var probs Problems
	var known []string
	for _, f := range fields {
		known = append(known, f.name)
	}
	if b.n != nil {
		for _, e := range b.n.entries {
			i := slices.IndexFunc(fields, func(f field) bool { return f.name == e.key })
			if i < 0 {
				b.unknown(e, known, &probs)
				continue
			}
			if p := b.decodeKey(&fields[i], e); p != nil {
				probs = append(probs, p)
			}
		}
	}
	for _, f := range fields {
		if f.required && !f.set && !f.bad {
			probs = append(probs, b.Problem(f.name, "is required", ""))
		}
	}
	return probs.err()
}

type field struct {
	name     string
	required bool
	set, bad bool
	v        reflect.Value
}

// fieldsOf lists the tagged fields of the struct that v points to.
func fieldsOf(v any) []field {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("config: Decode needs a pointer to a struct, not %T", v))
	}
	rv = rv.Elem()
	var out []field
	for i := range rv.NumField() {
		name, opts, _ := strings.Cut(rv.Type().Field(i).Tag.Get("config"), ",")
		if name == "" {
			continue
		}
		out = append(out, field{name: name, required: opts == "required", v: rv.Field(i)})
	}
	return out
}

func (b Block) decodeKey(f *field, e *entry) *Problem {
	if e.val.kind == kNull {
		return nil
	}
	at := f.v
	var fresh reflect.Value
	if at.Kind() == reflect.Pointer {
		fresh = reflect.New(at.Type().Elem())
		at = fresh.Elem()
	}
	typ := tList
	if at.Kind() == reflect.Map {
		typ = tMap
	}
	if len(e.labels) > 0 {
		f.bad = true
		return b.Problem(e.key, "takes no label", "")
	}
	if bad := assign(at.Addr().Interface(), typ, e.key, e.val); bad != nil {
		f.bad = true
		p := b.Problem(e.key, bad.text, bad.hint)
		return p
	}
	if fresh.IsValid() {
		f.v.Set(fresh)
	}
	f.set = !isEmpty(e.val)
	return nil
}

func isEmpty(n *node) bool {
	return n.kind == kString && strings.TrimSpace(n.text) == "" || n.kind == kList && len(n.list) == 0
}

func (b Block) unknown(e *entry, known []string, probs *Problems) {
	hint := Closest(e.key, known)
	if hint == "" && len(known) > 0 {
		hint = "known are " + strings.Join(known, ", ")
	}
	p := b.Problem(e.key, "unknown key", hint)
	if b.lenient {
		b.late.add(p)
		return
	}
	*probs = append(*probs, p)
}
