package config

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hidden stands in place of a value that could be a secret.
const hidden = "[hidden]"

// Effective writes the configuration that holds after Resolve, in "text", which
// looks like HCL and has each key's origin as a comment, or in "json", an object
// with "config" and "origins". Keys that hold their zero value and that nobody
// set are left out. A value is shown only when its key is known to be harmless;
// contents of templates, commands and all else are hidden.
func (f *File) Effective(w io.Writer, o Origins, format string) error {
	e := effective{o: o}
	items := e.stanza(&topStanza, "", reflect.ValueOf(f))
	if t := o["token"]; t != "" {
		items = append([]item{{name: "token", path: "token", value: hidden}}, items...)
	}
	switch format {
	case "text":
		_, err := io.WriteString(w, e.text(items))
		return err
	case "json":
		return e.json(w, items)
	}
	return fmt.Errorf("the effective configuration is text or json, not %q", format)
}

// item is one key to be written: a value, or a block with items of its own.
type item struct {
	name, path string
	label      string
	value      any
	block      bool
	// listed says that there may be more of its name.
	listed bool
	items  []item
}

type effective struct{ o Origins }

func (e effective) stanza(st *stanza, path string, v reflect.Value) []item {
	var out []item
	for i := range st.keys {
		k := &st.keys[i]
		if k.ignored != "" || k.aliasOf != "" || st.label == k.name {
			continue
		}
		at := k.at(v.Interface())
		p := join(path, k.name)
		if f, top := v.Interface().(*File); top && k.name == autoAuthKey {
			out = append(out, e.identities(k, f)...)
			continue
		}
		switch {
		case k.sub != nil:
			out = append(out, e.blocks(k, p, reflect.ValueOf(at))...)
		case k.typ == tBody:
			if b := at.(*Block); len(b.Keys()) > 0 {
				out = append(out, item{name: k.name, path: p, block: true, items: e.body(b, p)})
			}
		case strings.Contains(k.name, "*"):
			m := *at.(*map[string]string)
			pre, _, _ := strings.Cut(k.name, "*")
			for _, name := range sortedKeys(m) {
				if strings.HasPrefix(name, pre) {
					out = append(out, item{name: name, path: join(path, name), value: hidden})
				}
			}
		default:
			if val, ok := show(k, at); ok || e.o[p] != "" {
				out = append(out, item{name: k.name, path: p, value: val})
			}
		}
	}
	return out
}

// blocks lists the blocks of a key: a struct in place, a pointer to one, or a
// slice of them.
func (e effective) blocks(k *key, path string, at reflect.Value) []item {
	v := at.Elem()
	switch v.Kind() {
	case reflect.Slice:
		var out []item
		for i := range v.Len() {
			it := e.block(k, fmt.Sprintf("%s[%d]", path, i), v.Index(i).Addr())
			it.listed = true
			out = append(out, it)
		}
		return out
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return []item{e.block(k, path, v)}
	}
	if it := e.block(k, path, at); len(it.items) > 0 {
		return []item{it}
	}
	return nil
}

func (e effective) block(k *key, path string, v reflect.Value) item {
	it := item{name: k.name, path: path, block: true, items: e.stanza(k.sub, path, v)}
	if k.sub.label == "" {
		return it
	}
	if row := find(k.sub.keys, k.sub.label); row != nil {
		it.label = *row.at(v.Interface()).(*string)
	} else {
		it.label = v.Interface().(*EnvTemplate).Name
	}
	return it
}

// identities lists every auto_auth, the default one first.
func (e effective) identities(k *key, f *File) []item {
	var out []item
	for _, a := range f.Logins() {
		it := e.block(k, a.path(), reflect.ValueOf(a))
		it.listed = len(f.Identities) > 0
		out = append(out, it)
	}
	return out
}

// body lists the keys of a method's or a sink's config.
func (e effective) body(b *Block, path string) []item {
	var out []item
	for _, name := range b.Keys() {
		var val any = hidden
		if n := b.n.get(name).val; harmless(name) {
			switch n.kind {
			case kString:
				val = hideUserinfo(n.text)
			case kNumber:
				val = json.Number(n.text)
				if v, bad := asInt64(n); bad == nil && name != "mode" {
					val = v
				} else if m, bad := asMode(n); bad == nil && name == "mode" {
					val = fmt.Sprintf("%04o", uint32(m))
				}
			case kBool:
				val = n.text == "true"
			}
		}
		out = append(out, item{name: name, path: join(path, name), value: val})
	}
	return out
}

// show is the printable form of a value, and whether it is worth printing when
// nobody set it.
func show(k *key, at any) (val any, worth bool) {
	v := reflect.ValueOf(at)
	if v.Kind() == reflect.Pointer {
		worth = !v.Elem().IsZero()
	}
	if !harmless(k.name) && k.name != "secret" {
		if r, ok := at.(headerMap); ok {
			worth = len(*r.m) > 0
		}
		return hidden, worth
	}
	switch at := at.(type) {
	case rateLimit:
		return fmt.Sprintf("%v:%d", at.v.RateLimit, at.v.RateBurst), at.v.RateLimit != 0
	case *string:
		return hideUserinfo(*at), worth
	case *bool:
		return *at, worth
	case **bool:
		return *at != nil && **at, worth
	case behavior:
		if *at.pessimistic {
			return pessimistic, true
		}
		return "optimistic", true
	case *time.Duration:
		return shortDuration(*at), worth
	case **fs.FileMode:
		if *at == nil {
			return nil, false
		}
		return fmt.Sprintf("%04o", uint32((**at).Perm())), true
	case *AutoAuthToken:
		return string(*at), worth
	case **Wait:
		if *at == nil {
			return nil, false
		}
		return shortDuration((*at).Min) + ":" + shortDuration((*at).Max), true
	}
	if k.typ == tSize {
		return shortSize(v.Elem().Int()), worth
	}
	return v.Elem().Interface(), worth
}

// shortDuration is 5m for 5m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// hideUserinfo hides the user and password that a URL may hold.
func hideUserinfo(s string) string {
	if !strings.Contains(s, "@") {
		return s
	}
	if u, err := url.Parse(s); err == nil && u.Scheme != "" && u.Opaque == "" && u.User == nil {
		return s
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	return scheme + "://" + hidden + rest[strings.LastIndexByte(rest, '@'):]
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (e effective) text(items []item) string {
	var b strings.Builder
	e.write(&b, items, "")
	return b.String()
}

func (e effective) write(b *strings.Builder, items []item, indent string) {
	width, vals := 0, make([]string, len(items))
	for i, it := range items {
		if !it.block {
			width = max(width, len(it.name))
			vals[i] = literal(it.value)
		}
	}
	for i, it := range items {
		switch {
		case it.block && len(it.items) == 0:
			fmt.Fprintf(b, "%s%s {}\n", indent, blockHead(it))
		case it.block:
			fmt.Fprintf(b, "%s%s {\n", indent, blockHead(it))
			e.write(b, it.items, indent+"  ")
			fmt.Fprintf(b, "%s}\n", indent)
		default:
			fmt.Fprintf(b, "%s%-*s = %s  # %s\n", indent, width, it.name, vals[i], e.o.Of(it.path))
		}
	}
}

func blockHead(it item) string {
	if it.label == "" {
		return it.name
	}
	return it.name + " " + strconv.Quote(it.label)
}

func literal(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case []string:
		q := make([]string, len(v))
		for i, s := range v {
			q[i] = strconv.Quote(s)
		}
		return "[" + strings.Join(q, ", ") + "]"
	case nil:
		return `""`
	}
	return fmt.Sprint(v)
}

func (e effective) json(w io.Writer, items []item) error {
	origins := map[string]string{}
	out := struct {
		Config  map[string]any    `json:"config"`
		Origins map[string]string `json:"origins"`
	}{e.object(items, origins), origins}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

// object builds the JSON form; blocks that may repeat become lists.
func (e effective) object(items []item, origins map[string]string) map[string]any {
	out := map[string]any{}
	for _, it := range items {
		if !it.block {
			out[it.name] = it.value
			origins[it.path] = e.o.Of(it.path)
			continue
		}
		inner := e.object(it.items, origins)
		if it.label != "" {
			key := "type"
			if it.name == "env_template" || it.name == autoAuthKey {
				key = "name"
			}
			inner[key] = it.label
		}
		if !it.listed {
			out[it.name] = inner
			continue
		}
		list, _ := out[it.name].([]any)
		out[it.name] = append(list, inner)
	}
	return out
}
