package template

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"latchkey/internal/atomicfile"
	"latchkey/internal/owner"
)

// Set is a number of templates that are rendered together.
type Set struct {
	opts Options
	// seed is this process's part in when a certificate is replaced.
	seed      uint64
	env       map[string]string
	templates []*tmpl
}

// tmpl is one template, ready to be evaluated.
type tmpl struct {
	spec  Spec
	label string
	file  atomicfile.Options
	// text is nil for a secret that is written as it is.
	text *text
	// plain is the request of such a secret.
	plain Request
}

// New reads the sources, parses every template and resolves users and groups.
// The error joins one for each template that is at fault.
func New(specs []Spec, o Options) (*Set, error) {
	o = o.withDefaults()
	s := &Set{opts: o, env: environment(o.Env), seed: rand.Uint64()}
	fns := newFunctions()
	var errs []error
	for i, spec := range specs {
		t, err := prepare(i, spec)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if t.text != nil {
			if err := fns.check(t.text); err != nil {
				errs = append(errs, t.fail(ErrParse, err))
			}
		}
		s.templates = append(s.templates, t)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

func prepare(i int, spec Spec) (*tmpl, error) {
	t := &tmpl{spec: spec, label: label(i, spec)}
	if err := t.options(); err != nil {
		return nil, err
	}
	if spec.Secret != "" {
		req, err := readRequest(spec.Secret)
		if err != nil {
			return nil, t.fail(ErrParse, err)
		}
		t.plain = req
		return t, nil
	}
	contents := spec.Contents
	if spec.Source != "" {
		b, err := os.ReadFile(spec.Source)
		if err != nil {
			return nil, t.fail(ErrSource, err)
		}
		contents = string(b)
	}
	text, err := parseText(contents, spec.LeftDelimiter, spec.RightDelimiter)
	if err != nil {
		if spec.Source != "" {
			err = fmt.Errorf("%s: %w", spec.Source, err)
		}
		return nil, t.fail(ErrParse, err)
	}
	t.text = text
	return t, nil
}

// options checks what goes with what and settles how the file is written.
func (t *tmpl) options() error {
	s := t.spec
	given := 0
	for _, v := range []string{s.Source, s.Contents, s.Secret} {
		if v != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return t.fail(ErrParse, errors.New("give exactly one of source, contents and secret"))
	case s.Destination == "" && s.Variable == "":
		return t.fail(ErrParse, errors.New("no destination"))
	case s.Variable != "" && (s.Destination != "" || s.Exec != nil):
		return t.fail(ErrParse, errors.New("what goes to a variable has neither destination nor command"))
	case s.Secret != "" && formats[s.Format] == nil:
		return t.fail(ErrParse, fmt.Errorf("format %q is none of json, dotenv, yaml", s.Format))
	case s.Secret == "" && s.Format != "":
		return t.fail(ErrParse, errors.New("format needs a secret"))
	}
	uid, err := owner.User(s.User)
	if err != nil {
		return t.fail(ErrWrite, fmt.Errorf("user %q: %w", s.User, err))
	}
	gid, err := owner.Group(s.Group)
	if err != nil {
		return t.fail(ErrWrite, fmt.Errorf("group %q: %w", s.Group, err))
	}
	t.file = atomicfile.Options{
		Mode: 0o644, KeepMode: true,
		UID: uid, GID: gid,
		MakeDirs: s.CreateDestDirs, Backup: s.Backup, Compare: true,
	}
	if s.Perms != nil {
		t.file.Mode, t.file.KeepMode = *s.Perms, false
	}
	return nil
}

// fail puts the name of the template and the kind before err; a nil kind is
// for errors that bring their own.
func (t *tmpl) fail(kind, err error) error {
	if kind == nil {
		return fmt.Errorf("%s: %w", t.label, err)
	}
	return fmt.Errorf("%s: %w: %w", t.label, kind, err)
}

func label(i int, s Spec) string {
	name := s.Name
	if name == "" {
		name = fmt.Sprintf("template %d", i+1)
	}
	if where := s.Destination + s.Variable; where != "" {
		return name + " (" + where + ")"
	}
	return name
}

// path is the destination as two are compared, "" for a variable.
func (t *tmpl) path() string {
	if t.spec.Destination == "" {
		return ""
	}
	return filepath.Clean(t.spec.Destination)
}

// environment makes a map of NAME=value; the first of two wins, as it does for
// a process.
func environment(list []string) map[string]string {
	env := make(map[string]string, len(list))
	for _, e := range list {
		name, value, _ := strings.Cut(e, "=")
		if _, ok := env[name]; !ok {
			env[name] = value
		}
	}
	return env
}
