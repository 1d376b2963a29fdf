package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// decoder turns the tree of one file into a File, by the table in schema.go.
type decoder struct {
	opts    Options
	src     *source
	late    *lateWarnings
	allowed bool // duplicate attributes are only warned about
	// base is how many listeners, templates and env_templates earlier files
	// hold, so that paths count on.
	base  map[string]int
	set   map[string]Pos
	probs Problems
	warns []Warning
}

// body is one block being decoded: v points to the struct it fills.
type body struct {
	st   *stanza
	path string
	n    *node
	v    any
	pos  Pos
	seen map[string]bool
}

func (d *decoder) problem(off int, key, text, hint string) {
	d.probs = append(d.probs, d.src.problem(off, key, text, hint))
}

func (d *decoder) warn(off int, key, text, hint string) {
	d.warns = append(d.warns, Warning(*d.src.problem(off, key, text, hint)))
}

// mistake is a problem, or a warning for those who asked to be lenient.
func (d *decoder) mistake(off int, key, text, hint string) {
	if d.opts.Lenient {
		d.warn(off, key, text, hint)
		return
	}
	d.problem(off, key, text, hint)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// fill decodes every entry of b and then looks for what is missing.
func (d *decoder) fill(b *body) {
	assigned := map[string]bool{}
	for _, e := range b.n.entries {
		k := find(b.st.keys, e.key)
		if k == nil || k.notInFile {
			d.unknown(b, e, k)
			continue
		}
		again := d.src.json && k.typ == tBlocks // one more block, as Vault Agent reads it
		if e.assigned && assigned[k.name] && !again && !strings.Contains(k.name, "*") {
			d.duplicate(e, join(b.path, e.key))
		}
		assigned[k.name] = assigned[k.name] || e.assigned
		if e.val.kind == kNull {
			continue
		}
		d.entry(b, k, e)
	}
	for i := range b.st.keys {
		k := &b.st.keys[i]
		if k.required && !b.seen[k.name] {
			d.problem(b.n.off, join(b.path, k.name), "is required", missingHint(b.st, k))
		}
	}
	if b.st.after != nil {
		b.st.after(d, b)
	}
}

func missingHint(st *stanza, k *key) string {
	if k.name == "method" {
		return `write method "approle" { ... }`
	}
	if st.label == k.name {
		return fmt.Sprintf(`write it as a label, %s "%s" {`, st.name, exampleType(k))
	}
	return ""
}

func exampleType(k *key) string {
	if len(k.oneOf) > 0 {
		return k.oneOf[0]
	}
	return "TYPE"
}

func (d *decoder) unknown(b *body, e *entry, k *key) {
	path := join(b.path, e.key)
	if k != nil {
		hint := "set " + envNames(k.env)
		if k.flag != "" {
			hint += " or -" + k.flag
		}
		d.mistake(e.off, path, "cannot be set in a file", hint)
		return
	}
	if b.st.name == "env_template" && find(templateStanza.keys, e.key) != nil {
		d.problem(e.off, path, "is not allowed in env_template", "its output is a variable, not a file")
		return
	}
	where := "a key of " + b.st.name
	if b.st.name == "" {
		where = "a top-level key"
	}
	hint := Closest(e.key, names(b.st.keys))
	if hint == "" && b.st.stray != "" {
		hint = b.st.stray
	} else if hint == "" {
		hint = elsewhere(e.key, where)
	}
	d.mistake(e.off, path, "unknown key", hint)
}

func (d *decoder) duplicate(e *entry, path string) {
	const text = "is set twice; each key can be set once"
	if d.allowed {
		d.warn(e.off, path, text, "the last one holds")
		return
	}
	d.problem(e.off, path, text, "remove one; "+allowDuplicates+"=true turns this into a warning")
}

// find is the row for a key as written: case does not matter, as in Vault
// Agent, and a row may end in a wildcard.
func find(keys []key, name string) *key {
	for i := range keys {
		k := &keys[i]
		if len(k.name) == len(name) && strings.EqualFold(k.name, name) {
			return k
		}
	}
	for i := range keys {
		pre, post, wild := strings.Cut(keys[i].name, "*")
		if wild && len(name) > len(pre)+len(post) && strings.HasPrefix(name, pre) && strings.HasSuffix(name, post) {
			return &keys[i]
		}
	}
	return nil
}

func names(keys []key) []string {
	var out []string
	for _, k := range keys {
		if !k.notInFile && k.ignored == "" {
			out = append(out, k.name)
		}
	}
	return out
}

// entry decodes one known key.
func (d *decoder) entry(b *body, k *key, e *entry) {
	name := k.name
	if strings.Contains(name, "*") {
		name = e.key
	}
	path := join(b.path, name)
	if k.ignored != "" {
		d.warn(e.off, path, "has no effect", k.ignored)
		return
	}
	if k.sub != nil {
		d.blocks(b, k, e, path)
		b.seen[k.name] = true
		return
	}
	if k.typ == tBody {
		d.bodyOf(b, k, e, path)
		return
	}
	if len(e.labels) > 0 {
		d.problem(e.labels[0].off, path, "is "+string(k.typ)+", not a block with a label", "")
		return
	}
	if k.typ == tWait && e.val.kind != kString && e.val.kind != kNumber {
		d.wait(b, k, e, path)
		return
	}
	if e.val.kind == kString && e.val.text == "" && emptyIsNone(k.typ) {
		return
	}
	if k.fold {
		low := *e.val
		low.text = strings.ToLower(low.text)
		e.val = &low
	}
	if bad := assign(k.at(b.v), k.typ, e.key, e.val); bad != nil {
		b.seen[k.name] = true
		d.problem(e.val.off, path, bad.text, bad.hint)
		return
	}
	d.checkOneOf(k, path, e.val)
	if k.typ == tCommas && strings.HasSuffix(k.name, "command") && e.val.kind == kString && strings.Contains(e.val.text, ",") {
		d.warn(e.val.off, path, "is split at its commas, as Vault Agent does", "write a list of strings to be exact")
	}
	b.seen[k.name] = true
	d.set[path] = d.src.pos(e.off)
	if k.aliasOf != "" {
		d.set[join(b.path, k.aliasOf)] = d.src.pos(e.off)
	}
}

// emptyIsNone says where an empty string is as good as no key at all, as
// generated files often have it.
func emptyIsNone(t typ) bool {
	switch t {
	case tString, tInt, tDur, tSize, tList, tCommas, tArgv, tMap, tWait:
		return true
	}
	return false
}

func (d *decoder) checkOneOf(k *key, path string, n *node) {
	if len(k.oneOf) == 0 || n.text == "" {
		return
	}
	for _, v := range k.oneOf {
		if n.text == v {
			return
		}
	}
	hint := Closest(n.text, k.oneOf)
	d.problem(n.off, path, fmt.Sprintf("must be %s, not %q", orList(k.oneOf), n.text), hint)
}

func orList(s []string) string {
	if len(s) == 1 {
		return s[0]
	}
	return strings.Join(s[:len(s)-1], ", ") + " or " + s[len(s)-1]
}

// wait decodes the block form of the wait key.
func (d *decoder) wait(b *body, k *key, e *entry, path string) {
	var w *Wait
	for _, in := range d.expand(&waitStanza, e, path) {
		w = &Wait{}
		d.fill(&body{st: &waitStanza, path: path, n: in.n, v: w, seen: map[string]bool{}})
		if w.enabled != nil && !*w.enabled {
			w = nil
			continue
		}
		w.enabled = nil
	}
	*k.at(b.v).(**Wait) = w
	b.seen[k.name] = true
	d.set[path] = d.src.pos(e.off)
}

// instance is one block of possibly several that an entry stands for.
type instance struct {
	n      *node
	off    int
	labels []label
}

// expand lists the blocks behind an entry: one, or several as a list of
// objects, or keyed by their labels as JSON writes them.
func (d *decoder) expand(st *stanza, e *entry, path string) []instance {
	var out []instance
	each := []*node{e.val}
	if e.val.kind == kList {
		each = e.val.list
	}
	for _, n := range each {
		if n.kind != kObject {
			d.problem(n.off, path, "must be a block, not "+n.kind.String(), "write "+st.name+" { ... }")
			continue
		}
		off := e.off
		if e.val.kind == kList {
			off = n.off
		}
		if st.label == "" || len(e.labels) > 0 || !labelled(st, n) {
			out = append(out, instance{n, off, e.labels})
			continue
		}
		for _, in := range n.entries {
			inner := []*node{in.val}
			if in.val.kind == kList {
				inner = in.val.list
			}
			for _, m := range inner {
				out = append(out, instance{m, in.off, append([]label{{in.key, in.off}}, in.labels...)})
			}
		}
	}
	return out
}

// labelled says whether an object is {"LABEL": {...}} instead of the block
// itself: none of its keys is one of the block's, and all hold objects.
func labelled(st *stanza, n *node) bool {
	if len(n.entries) == 0 {
		return false
	}
	for _, e := range n.entries {
		if find(st.keys, e.key) != nil {
			return false
		}
		inner := []*node{e.val}
		if e.val.kind == kList {
			inner = e.val.list
		}
		for _, m := range inner {
			if m.kind != kObject {
				return false
			}
		}
		if len(inner) == 0 {
			return false
		}
	}
	return true
}

// blocks decodes an entry that stands for one or more blocks.
func (d *decoder) blocks(b *body, k *key, e *entry, path string) {
	found := d.expand(k.sub, e, path)
	if k.name == "sinks" {
		found = unwrapSinks(found)
	}
	for _, in := range found {
		if k.typ == tBlock && b.seen[k.name] && k.name != "sinks" && !k.lastWins {
			d.problem(in.off, path, "there can be only one", "")
			return
		}
		if k.name == autoAuthKey && b.st == &topStanza {
			d.identity(b, k, in)
			continue
		}
		b.seen[k.name] = true
		d.block(b, k, in, path)
	}
}

// unwrapSinks lets "sinks" hold sinks themselves as well as sink blocks.
func unwrapSinks(found []instance) []instance {
	for i, in := range found {
		if len(in.n.entries) > 0 && in.n.get("sink") == nil {
			found[i].n = &node{kind: kObject, off: in.n.off, src: in.n.src, entries: []*entry{
				{key: "sink", off: in.off, val: in.n, labels: in.labels, assigned: true},
			}}
			found[i].labels = nil
		}
	}
	return found
}

// block decodes one block into where its row points: a struct in place, a
// new struct, or a further element of a slice.
func (d *decoder) block(b *body, k *key, in instance, path string) {
	at := reflect.ValueOf(k.at(b.v)).Elem()
	switch at.Kind() {
	case reflect.Slice:
		path = path + "[" + strconv.Itoa(d.base[path]+at.Len()) + "]"
		elem := reflect.New(at.Type().Elem())
		d.inner(k, in, path, elem)
		at.Set(reflect.Append(at, elem.Elem()))
	case reflect.Pointer:
		elem := reflect.New(at.Type().Elem())
		d.inner(k, in, path, elem)
		at.Set(elem)
	default:
		if k.name == "sinks" {
			path = b.path
		}
		d.inner(k, in, path, at.Addr())
	}
}

func (d *decoder) inner(k *key, in instance, path string, v reflect.Value) {
	b := &body{st: k.sub, path: path, n: in.n, v: v.Interface(), pos: d.src.pos(in.off), seen: map[string]bool{}}
	if at := v.Elem().FieldByName("Pos"); at.IsValid() && k.at != nil && at.IsZero() {
		at.Set(reflect.ValueOf(b.pos))
	}
	if k.name != "sinks" {
		d.set[path] = b.pos
	}
	setDefaults(k.sub, b.v)
	d.label(b, in)
	d.fill(b)
}

// setDefaults fills v with what the table says. Defaults that are sentences
// and not values are left to the stanza's after.
func setDefaults(st *stanza, v any) {
	for i := range st.keys {
		k := &st.keys[i]
		if k.sub != nil || k.def == "" || k.at == nil || k.typ == tBody {
			continue
		}
		at := k.at(v)
		if _, ok := at.(**bool); ok {
			continue // nil stays "not set"
		}
		if bad := assign(at, k.typ, k.name, text(k.def)); bad != nil {
			panic("config: the table's default of " + st.name + "." + k.name + " " + bad.text)
		}
	}
}

// label applies the labels of a block: its type, in any case, or its name.
func (d *decoder) label(b *body, in instance) {
	k := find(b.st.keys, b.st.label)
	if len(in.labels) == 0 {
		if b.st.label != "" && k == nil {
			d.problem(in.off, b.path, "needs a label, the name of the variable", `write env_template "NAME" {`)
		}
		return
	}
	if b.st.label == "" || len(in.labels) > 1 {
		l := in.labels[0]
		text := "takes no label"
		if b.st.label != "" {
			l, text = in.labels[1], "takes only one label"
		}
		d.mistake(l.off, b.path, text, "")
		if b.st.label == "" {
			return
		}
	}
	l := in.labels[0]
	if k == nil {
		b.v.(*EnvTemplate).Name = l.text
		return
	}
	if typ := b.n.get(k.name); typ != nil && typ.val.text != "" && !strings.EqualFold(typ.val.text, l.text) {
		d.warn(l.off, join(b.path, k.name), "is given twice, as a label and as a key, and they differ", "the key holds, as in Vault Agent; keep one of them")
		return
	}
	n := &node{kind: kString, text: l.text, off: l.off, src: d.src}
	if k.name == "type" {
		n.text = strings.ToLower(l.text)
	}
	*k.at(b.v).(*string) = n.text
	d.checkOneOf(k, join(b.path, k.name), n)
	b.seen[k.name] = n.text != ""
	d.set[join(b.path, k.name)] = d.src.pos(l.off)
}

// bodyOf keeps a config block for its owner.
func (d *decoder) bodyOf(b *body, k *key, e *entry, path string) {
	if len(e.labels) > 0 {
		d.mistake(e.labels[0].off, path, "takes no label", "")
	}
	n := &node{kind: kObject, off: e.val.off, src: d.src}
	for _, in := range d.expand(&stanza{name: k.name}, e, path) {
		n.entries = append(n.entries, in.n.entries...)
	}
	assigned := map[string]bool{}
	for _, in := range n.entries {
		if assigned[in.key] && in.assigned {
			d.duplicate(in, join(path, in.key))
		}
		assigned[in.key] = assigned[in.key] || in.assigned
		d.set[join(path, in.key)] = d.src.pos(in.off)
	}
	d.set[path] = d.src.pos(e.off)
	blk := k.at(b.v).(*Block)
	if blk.n != nil { // a second block adds its keys
		n.entries = append(slices.Clone(blk.n.entries), n.entries...)
	}
	blk.Pos, blk.n, blk.late, blk.lenient = d.src.pos(e.off), n, d.late, d.opts.Lenient
}

// finishMethod settles what depends on the method's type.
func finishMethod(d *decoder, b *body) {
	m := b.v.(*Method)
	// 0 is as good as no key here, as in Vault Agent.
	var def Method
	setDefaults(b.st, &def)
	if m.MinBackoff == 0 {
		m.MinBackoff = def.MinBackoff
	}
	if m.MaxBackoff == 0 {
		m.MaxBackoff = def.MaxBackoff
	}
	if m.MountPath == "auth/TYPE" {
		m.MountPath = "auth/" + m.Type
	}
	m.MountPath = strings.TrimSuffix(m.MountPath, "/")
	m.Namespace = canonicalNamespace(m.Namespace)
	d.own(&m.Config, m.Type, b)
}

// own gives a block its type and, when there is none in the file, a place.
func (d *decoder) own(blk *Block, typ string, b *body) {
	blk.Type, blk.path = typ, b.path+".config"
	if blk.n == nil {
		blk.n = &node{kind: kObject, off: b.n.off, src: d.src}
		blk.Pos, blk.late, blk.lenient = b.pos, d.late, d.opts.Lenient
	}
}

// canonicalNamespace has no leading and one trailing slash, or is empty.
func canonicalNamespace(s string) string {
	if s = strings.Trim(strings.TrimSpace(s), "/"); s == "" || s == "root" {
		return ""
	}
	return s + "/"
}

// finishTemplate settles what depends on several keys of a template.
func finishTemplate(d *decoder, b *body) {
	t := b.v.(*Template)
	if len(t.oldCommand) > 0 && (t.Exec == nil || len(t.Exec.Command) == 0) {
		if t.Exec == nil {
			t.Exec = &TemplateExec{Pos: t.Pos}
			setDefaults(&templateExecStanza, t.Exec)
			t.Exec.Timeout = t.oldTimeout
		}
		t.Exec.Command = t.oldCommand
	}
	if e := t.Exec; e != nil && (len(e.Command) == 0 || e.enabled != nil && !*e.enabled) {
		t.Exec = nil
	}
	t.oldCommand, t.oldTimeout = nil, 0
	if w := t.Wait; w != nil && w.Max == 0 {
		w.Max = 4 * w.Min
	}
	if t.Secret != "" && t.Format == "" {
		t.Format = formatOf(t.Destination)
	}
}

// formatOf is the format a destination's name asks for.
func formatOf(dest string) string {
	switch strings.ToLower(filepath.Ext(dest)) {
	case ".env":
		return "dotenv"
	case ".yaml", ".yml":
		return "yaml"
	}
	return "json"
}
