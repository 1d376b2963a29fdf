package config

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// Env looks a variable up, as os.LookupEnv does. A nil Env is empty.
type Env func(name string) (string, bool)

func (e Env) get(name string) (string, bool) {
	if e == nil {
		return "", false
	}
	return e(name)
}

// Options say how files are read.
type Options struct {
	// Lenient turns unknown keys into warnings.
	Lenient bool
	Env     Env
	// Lex reads HCL; without one, only JSON is read.
	Lex Lexer
}

// Loaded is what the files say, before environment and flags.
type Loaded struct {
	// File is all files merged, with the defaults of what they leave out.
	File     *File
	Warnings []Warning

	late *lateWarnings
}

// LateWarnings are those that owners of blocks have caused since Load: unknown
// keys in the config of a method or a sink, when loading was lenient.
func (l *Loaded) LateWarnings() []Warning {
	l.late.mu.Lock()
	defer l.late.mu.Unlock()
	return slices.Clone(l.late.list)
}

// allowDuplicates is Vault's own switch, under Vault's own name.
const allowDuplicates = "VAULT_ALLOW_PENDING_REMOVAL_DUPLICATE_HCL_ATTRIBUTES"

// maxFileSize keeps a device or a disk image from being read whole.
const maxFileSize = 64 << 20

// where is the place of every key that a file sets, by its dotted path.
type where struct {
	set     map[string]Pos
	sources map[string]*source
}

// Load reads configuration files and merges them in the order given. A
// directory stands for its *.hcl and *.json files in sorted order, without
// those of directories in it and without an editor's temporary files.
//
// Later files win: vault, cache, api_proxy, exec, telemetry, template_config and
// the auto_auth of one name as a whole, single values one by one; template,
// env_template and listener add up, and a boolean that one file turns on stays on.
//
// The error is Problems, with every fault of every file. Loaded is then nil.
// No path at all is a Problem as well.
func Load(paths []string, o Options) (*Loaded, error) {
	files, probs := findFiles(paths)
	l := &Loaded{late: &lateWarnings{}}
	l.File = newFile()
	for _, name := range files {
		data, bad := readFile(name)
		if bad != nil {
			probs = append(probs, bad)
			continue
		}
		probs = append(probs, l.merge(name, data, o)...)
	}
	if err := probs.err(); err != nil {
		return nil, err
	}
	return l, nil
}

// LoadText is Load for one configuration that is in no file; name stands for that.
func LoadText(name, text string, o Options) (*Loaded, error) {
	l := &Loaded{late: &lateWarnings{}}
	l.File = newFile()
	if err := l.merge(name, []byte(text), o).err(); err != nil {
		return nil, err
	}
	return l, nil
}

// newFile is a file that says nothing: all defaults.
func newFile() *File {
	f := &File{where: &where{set: map[string]Pos{}, sources: map[string]*source{}}}
	setDefaults(&topStanza, f)
	setDefaults(&vaultStanza, &f.Vault)
	setDefaults(&retryStanza, &f.Vault)
	setDefaults(&templateConfigStanza, &f.TemplateConfig)
	return f
}

func findFiles(paths []string) (files []string, probs Problems) {
	if len(paths) == 0 {
		return nil, Problems{{Text: "no configuration file is given", Hint: "name one with -config=FILE"}}
	}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			probs = append(probs, fileProblem(p, err))
			continue
		}
		if !info.IsDir() {
			files = append(files, p)
			continue
		}
		entries, err := os.ReadDir(p) // sorted by name
		if err != nil {
			probs = append(probs, fileProblem(p, err))
			continue
		}
		found := false
		for _, e := range entries {
			if name := filepath.Join(p, e.Name()); isConfigName(e.Name()) && !isDir(name) {
				files, found = append(files, name), true
			}
		}
		if !found {
			probs = append(probs, &Problem{Pos: Pos{File: p}, Text: "this directory holds no *.hcl and no *.json file"})
		}
	}
	return files, probs
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

func isConfigName(name string) bool {
	switch {
	case strings.HasSuffix(name, "~"), strings.HasPrefix(name, ".#"), strings.HasPrefix(name, "#") && strings.HasSuffix(name, "#"):
		return false
	}
	return strings.HasSuffix(name, ".hcl") || strings.HasSuffix(name, ".json")
}

func fileProblem(name string, err error) *Problem {
	hint := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint = "check the path given with -config, or LATCHKEY_CONFIG in Lambda"
	case errors.Is(err, fs.ErrPermission):
		hint = "the user that runs this needs to be able to read it"
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return &Problem{Pos: Pos{File: name}, Text: "cannot be read: " + err.Error(), Hint: hint}
}

func readFile(name string) ([]byte, *Problem) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fileProblem(name, err)
	}
	defer f.Close()
	// What is no regular file does not say beforehand how large it is.
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	switch {
	case err != nil:
		return nil, fileProblem(name, err)
	case len(data) > maxFileSize:
		return nil, &Problem{Pos: Pos{File: name}, Text: "is too large for a configuration file"}
	}
	return data, nil
}

// parse reads a file into a tree. What begins with a brace is JSON, whatever
// its name says; that is Vault Agent's rule.
func parse(name string, data []byte, lex Lexer) (*node, *source, *Problem) {
	src := &source{name: name, data: data}
	start := bytes.TrimLeft(bytes.TrimPrefix(data, bom), " \t\r\n")
	if bytes.HasPrefix(start, []byte("{")) || bytes.HasPrefix(start, []byte("[")) {
		root, bad := parseJSON(src)
		return root, src, bad
	}
	root, bad := parseHCL(src, lex)
	return root, src, bad
}

// merge decodes one file and lays it over what was loaded before.
func (l *Loaded) merge(name string, data []byte, o Options) Problems {
	root, src, bad := parse(name, data, o.Lex)
	if bad != nil {
		return Problems{bad}
	}
	return l.lay(root, src, o)
}

// lay decodes one tree and lays it over what was loaded before.
func (l *Loaded) lay(root *node, src *source, o Options) Problems {
	allowed, _ := o.Env.get(allowDuplicates)
	d := &decoder{opts: o, src: src, late: l.late, allowed: isTrue(allowed), set: map[string]Pos{}, base: map[string]int{
		"listener":     len(l.File.Listeners),
		"template":     len(l.File.Templates),
		"env_template": len(l.File.EnvTemplates),
	}}
	f := newFile()
	d.fill(&body{st: &topStanza, n: root, v: f, seen: map[string]bool{}})
	l.Warnings = append(l.Warnings, d.warns...)
	l.File.lay(f, d.set, src)
	return d.probs
}

func isTrue(s string) bool {
	v, bad := asBool(text(s))
	return bad == nil && v
}

// lay merges a later file over f.
func (f *File) lay(later *File, set map[string]Pos, src *source) {
	if src.called == nil {
		f.Sources = append(f.Sources, src.name)
	}
	f.where.sources[src.name] = src
	defaults := newFile()
	for i := range topStanza.keys {
		k := &topStanza.keys[i]
		if k.ignored != "" {
			continue
		}
		if k.name == autoAuthKey {
			f.layIdentities(later)
			continue
		}
		if _, ok := set[k.name]; !ok && k.typ != tBlocks {
			continue
		}
		old, now := reflect.ValueOf(k.at(f)).Elem(), reflect.ValueOf(k.at(later)).Elem()
		switch {
		case k.typ == tBlocks:
			old.Set(reflect.AppendSlice(old, now))
			continue
		case k.typ == tBool:
			if old.Bool() && !now.Bool() {
				delete(set, k.name) // the earlier file is where it comes from
			}
			old.SetBool(old.Bool() || now.Bool())
			continue
		case k.typ == tCommas:
			old.Set(reflect.ValueOf(union(old.Interface().([]string), now.Interface().([]string))))
			continue
		case k.name == "template_config" && later.TemplateConfig.same(defaults.TemplateConfig):
			continue
		case k.typ == tBlock:
			maps.DeleteFunc(f.where.set, func(path string, _ Pos) bool { return strings.HasPrefix(path, k.name+".") })
		}
		old.Set(now)
	}
	maps.Copy(f.where.set, set)
}

// same compares all but the place.
func (c TemplateConfig) same(o TemplateConfig) bool {
	c.Pos, o.Pos = Pos{}, Pos{}
	return c == o
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}
