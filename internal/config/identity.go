package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// auto_auth may stand several times, told apart by name. While a file is decoded
// all of them are in Identities; layIdentities then takes out the default one.

// Logins are all of the file's logins, the default one first.
func (f *File) Logins() []*AutoAuth {
	if f.AutoAuth == nil {
		return f.Identities
	}
	return append([]*AutoAuth{f.AutoAuth}, f.Identities...)
}

// path is the dotted path of the block.
func (a *AutoAuth) path() string { return identityPath(a.Name) }

func identityPath(name string) string {
	if name == "" {
		return autoAuthKey
	}
	return autoAuthKey + "[" + name + "]"
}

// Known is what a listener may call it.
func (a *AutoAuth) Known() string {
	if a.Name == "" {
		return DefaultIdentity
	}
	return a.Name
}

// identity decodes one auto_auth block.
func (d *decoder) identity(b *body, k *key, in instance) {
	name := nameOf(in)
	f := b.v.(*File)
	for _, a := range f.Identities {
		if a.Known() != (&AutoAuth{Name: name}).Known() {
			continue
		}
		text, hint := "there can be only one without a name", `give the others names: auto_auth "NAME" { ... }`
		if name != "" {
			text, hint = "there is another of this name", "give each its own"
		}
		d.problem(in.off, identityPath(name), text, hint)
		return
	}
	if !isIdentityName(name) {
		d.problem(in.off, autoAuthKey+".name", "may hold letters, digits, _ and - only, at most 64 of them", "")
		return
	}
	a := &AutoAuth{}
	d.inner(k, in, identityPath(name), reflect.ValueOf(a))
	f.Identities = append(f.Identities, a)
}

// nameOf is the name that a block has, before it is decoded: by a label or a key,
// and where they differ, by the key.
func nameOf(in instance) string {
	if e := in.n.get("name"); e != nil && e.val.text != "" {
		return e.val.text
	}
	if len(in.labels) > 0 {
		return in.labels[0].text
	}
	return ""
}

func isIdentityName(s string) bool {
	return len(s) <= 64 && strings.Trim(s, "-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

// layIdentities lays the logins of a later file over f's: one of a known name
// takes the place of that, others are added.
func (f *File) layIdentities(later *File) {
	all := f.Logins()
	for _, a := range later.Identities {
		i := slices.IndexFunc(all, func(o *AutoAuth) bool { return o.Known() == a.Known() })
		if i < 0 {
			all = append(all, a)
			continue
		}
		old := all[i].path()
		maps.DeleteFunc(f.where.set, func(path string, _ Pos) bool { return path == old || strings.HasPrefix(path, old+".") })
		all[i] = a
	}
	f.AutoAuth, f.Identities = nil, nil
	if len(all) == 0 {
		return
	}
	i := max(slices.IndexFunc(all, func(a *AutoAuth) bool { return a.Name == "" }), 0)
	f.AutoAuth, f.Identities = all[i], slices.Delete(slices.Clone(all), i, i+1)
}
