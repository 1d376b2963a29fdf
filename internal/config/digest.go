package config

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// sections says what belongs to each part that a reload may have to start again.
// Between them they hold every value of a File but exit_after_auth, which has
// chosen the program's mode by then.
var sections = map[string]func(*File) []any{
	"log": func(f *File) []any {
		return []any{f.LogLevel, f.LogFormat, f.LogFile, f.LogRotateDuration, f.LogRotateBytes, f.LogRotateMaxFiles}
	},
	// All that the connections to the server are made of.
	"vault": func(f *File) []any {
		return []any{f.Vault, f.DisableIdleConnections, f.DisableKeepAlives, f.TemplateConfig.MaxConnectionsPerHost}
	},
	"auth": func(f *File) (out []any) {
		for _, a := range f.Logins() {
			login := *a
			login.Sinks = nil
			out = append(out, login)
		}
		return out
	},
	"sinks": func(f *File) (out []any) {
		for _, a := range f.Logins() {
			out = append(out, a.Name, a.Sinks)
		}
		return out
	},
	"templates": func(f *File) []any { return []any{f.Templates, f.TemplateConfig, f.EnvTemplates} },
	"exec":      func(f *File) []any { return []any{f.Exec} },
	"listeners": func(f *File) []any { return []any{f.Listeners, f.StatusSocket} },
	"proxy":     func(f *File) []any { return []any{f.APIProxy, f.Cache} },
	"telemetry": func(f *File) []any { return []any{f.Telemetry, f.ClusterName} },
	"pid_file":  func(f *File) []any { return []any{f.PidFile} },
}

// digestKey makes digests worth nothing outside this process: they are of values
// that may be secrets and easy to guess.
var digestKey = sync.OnceValue(func() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key)
	return key
})

// Sections are the names that Digest knows, sorted.
func Sections() []string { return slices.Sorted(maps.Keys(sections)) }

// Digest is a short text that stands for all that a section says: log, vault,
// auth (every auto_auth without its sinks), sinks, templates (with template_config
// and env_template), exec, listeners (with status_socket), proxy (api_proxy and
// cache), telemetry or pid_file. Files that mean the same have the same digests, however
// they are written; a value that differs makes another one. Digests tell nothing
// of the values, and compare within one process only. Files that the
// configuration names are not looked at. An unknown section panics.
func (f *File) Digest(section string) string { return f.digest(section, digestKey()) }

// Login is a short text that stands for whom the default identity's login makes
// of us and where: the server's address and namespace, and auto_auth without its
// sinks and its name. It is the same in every process, so keep it out of files and
// logs: what it is made of may be easy to guess.
func (f *File) Login() string { return f.LoginOf(f.AutoAuth) }

// LoginOf is Login for any of the file's identities.
func (f *File) LoginOf(a *AutoAuth) string {
	d := digester{sha256.New()}
	var values []any
	if a != nil {
		login := *a
		login.Name, login.Sinks = "", nil
		values = append(values, login)
	}
	for _, v := range append(values, f.Vault.Address, f.Vault.Namespace) {
		d.value(reflect.ValueOf(v))
	}
	return hex.EncodeToString(d.Sum(nil)[:16])
}

func (f *File) digest(section string, key []byte) string {
	values, ok := sections[section]
	if !ok {
		panic("config: no section " + section)
	}
	d := digester{hmac.New(sha256.New, key)}
	for _, v := range values(f) {
		d.value(reflect.ValueOf(v))
	}
	return hex.EncodeToString(d.Sum(nil)[:16])
}

// digester writes values so that no two that differ read alike: each with its
// kind, and with its length where it has one.
type digester struct{ hash.Hash }

func (d digester) mark(kind string, n any) { _, _ = fmt.Fprintf(d, "%s %v\n", kind, n) }

func (d digester) text(s string) {
	d.mark("text", len(s))
	_, _ = io.WriteString(d, s)
}

func (d digester) value(v reflect.Value) {
	switch x := v.Interface().(type) {
	case Block:
		d.text(x.Type)
		d.node(x.n)
		return
	case fs.FileMode:
		d.mark("mode", uint32(x))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		d.mark("pointer", !v.IsNil())
		if !v.IsNil() {
			d.value(v.Elem())
		}
	case reflect.Struct:
		d.fields(v)
	case reflect.Slice:
		d.mark("list", v.Len())
		for i := range v.Len() {
			d.value(v.Index(i))
		}
	case reflect.Map:
		d.mark("map", v.Len())
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			d.text(k.String())
			d.value(v.MapIndex(k))
		}
	case reflect.String:
		d.text(v.String())
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
		d.mark(v.Kind().String(), v.Interface())
	default:
		panic(fmt.Sprintf("config: a %s in a configuration", v.Type()))
	}
}

// fields writes what a struct says. Where it stands is no part of that, nor is
// what it remembers while it is decoded.
func (d digester) fields(v reflect.Value) {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && f.Type != reflect.TypeFor[Pos]() {
			d.text(f.Name)
			d.value(v.Field(i))
		}
	}
}

// node writes a value that only its owner can read. What one of them might take
// for different stays different, even where most would see the same.
func (d digester) node(n *node) {
	switch {
	case n == nil:
		d.mark("map", 0)
	case n.kind == kObject:
		d.object(n.entries)
	case n.kind == kList && len(n.list) > 0 && !slices.ContainsFunc(n.list, func(e *node) bool { return e.kind != kObject }):
		// JSON writes a block as a list of one, and two as a list of two.
		var all []*entry
		for _, e := range n.list {
			all = append(all, e.entries...)
		}
		d.object(all)
	case n.kind == kList && len(n.list) == 1:
		d.node(n.list[0])
	case n.kind == kList:
		d.mark("list", len(n.list))
		for _, e := range n.list {
			d.node(e)
		}
	case n.kind == kNumber && !n.json() && strings.HasPrefix(n.text, "0") && len(n.text) > 1:
		// 010 is 8 where a number is meant, and "010" is 10.
		d.mark("number", n.text)
	default:
		d.text(n.text)
	}
}

// object writes keys in their order in the alphabet, the last of a name only, as
// those who read them have it.
func (d digester) object(entries []*entry) {
	last := map[string]*node{}
	for _, e := range entries {
		if e.val.kind != kNull {
			last[e.key] = e.val
		}
	}
	d.mark("map", len(last))
	for _, k := range sortedKeys(last) {
		d.text(k)
		if mode, bad := asMode(last[k]); k == "mode" && bad == nil {
			d.mark("mode", uint32(mode)) // 0640, "640", and 416 in JSON
			continue
		}
		d.node(last[k])
	}
}
