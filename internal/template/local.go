package template

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func (p *pass) env(name string) string {
	return p.note(p.run.set.env[name])
}

func (p *pass) mustEnv(name string) (string, error) {
	v := p.run.set.env[name]
	if v == "" {
		return "", fmt.Errorf("required environment variable %s is empty", name)
	}
	return p.note(v), nil
}

func (p *pass) envOrDefault(name, def string) string {
	if v, ok := p.run.set.env[name]; ok {
		return p.note(v)
	}
	return def
}

// file returns the content of a file, inside the sandbox if there is one.
func (p *pass) file(path string) (string, error) {
	path = strings.TrimSpace(path)
	if path == "" {
		return "", nil
	}
	var b []byte
	err := inSandbox(p.job.t.spec.SandboxPath, path)
	switch {
	case p.run.round != nil:
		b, err = p.fileWatched(path, err)
	case err == nil:
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return "", err
	}
	return p.note(string(b)), nil
}

// fileWatched reads a file that is looked at again later. One that may not be
// read is looked at too: what stands in the way may go.
func (p *pass) fileWatched(path string, denied error) ([]byte, error) {
	if p.files == nil {
		p.files = map[string]stamp{}
	}
	if denied != nil {
		p.files[path] = takeStamp(path)
		return nil, denied
	}
	s, b, err := readStamped(path)
	p.files[path] = s
	return b, err
}

// inSandbox compares where both paths end once links are followed.
func inSandbox(sandbox, path string) error {
	if sandbox == "" {
		return nil
	}
	root, err := filepath.EvalSymlinks(sandbox)
	if err != nil {
		return err
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if root, err = filepath.Abs(root); err != nil {
		return err
	}
	if target, err = filepath.Abs(target); err != nil {
		return err
	}
	rel, err := filepath.Rel(root, target)
	if err != nil || !filepath.IsLocal(rel) {
		return fmt.Errorf("'%s' is outside of sandbox", path)
	}
	return nil
}

// note remembers text that the template saw, so that no error repeats it.
func (p *pass) note(s string) string {
	if s != "" {
		p.noted = append(p.noted, s)
	}
	return s
}
