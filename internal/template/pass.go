package template

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	stdtemplate "text/template"

	"github.com/hashicorp/consul-template/config"
	dep "github.com/hashicorp/consul-template/dependency"
	ct "github.com/hashicorp/consul-template/template"
	"github.com/ryanuber/go-glob"
)

// pass is one evaluation of one template. It records what is missing and hands
// out nothing for it, so that the evaluation goes on and finds the rest.
type pass struct {
	run *run
	job *job
	// missing says that the output is not final: something was not there.
	missing bool
	// helper says that a function of the library was called without it.
	helper bool
	// used are the answers that the template saw, by key; noted is other
	// text that it saw. Both for scrub.
	inputs
	noted []string
	side  []sideFile
}

func (u *run) newPass(j *job) *pass {
	return &pass{run: u, job: j, inputs: inputs{used: map[string]Request{}}}
}

// evaluateText runs a pass and keeps the output when nothing was missing. An
// error counts only then: without its data a template may well stumble.
func (u *run) evaluateText(j *job) {
	if u.round != nil {
		// A Watch holds many texts for a long time, and renders few of them.
		defer j.t.text.forget()
	}
	p := u.newPass(j)
	out, err := p.evaluate()
	j.inputs = p.inputs
	switch {
	case j.done || p.missing:
		return
	case err != nil:
		j.fail(nil, p.explain(err))
	default:
		j.output, j.side = out, p.side
	}
}

// evaluate chooses the engine. The first pass mostly ends where secrets are
// missing, before any helper of the library is called; so it is tried without.
func (p *pass) evaluate() ([]byte, error) {
	j := p.job
	if j.t.text.library && j.inLibrary {
		return p.throughLibrary()
	}
	out, err := p.directly()
	if !p.helper {
		j.inLibrary = true
		return out, err
	}
	*p = *p.run.newPass(j)
	j.want, j.pki = nil, nil
	return p.throughLibrary()
}

// directly evaluates with text/template alone, which is what the library does
// after building a map of some three hundred functions; a text that names none
// of them is spared that. See docs/decisions/0004-template-engine.md.
func (p *pass) directly() ([]byte, error) {
	text := p.job.t.text
	funcs := p.funcs()
	for name := range text.calls {
		if text.library && !own(name) {
			funcs[name] = func(...any) (any, error) { p.helper = true; return nil, errHelper }
		}
	}
	t := stdtemplate.New("").Delims(text.left, text.right).Funcs(funcs)
	if p.job.t.spec.ErrorOnMissingKey {
		t.Option("missingkey=error")
	} else {
		t.Option("missingkey=zero")
	}
	trees := text.parsed()
	for name, tree := range trees {
		if _, err := t.AddParseTree(name, tree); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	if trees[""] == nil {
		return nil, nil // an empty text, or one that only defines
	}
	err := t.Execute(&b, nil)
	return b.Bytes(), err
}

func (p *pass) throughLibrary() ([]byte, error) {
	text, spec := p.job.t.text, p.job.t.spec
	t, err := ct.NewTemplate(&ct.NewTemplateInput{
		Contents:         text.contents,
		LeftDelim:        text.left,
		RightDelim:       text.right,
		ErrMissingKey:    spec.ErrorOnMissingKey,
		FunctionDenylist: spec.FunctionDenylist,
		ExtFuncMap:       p.funcs(),
	})
	if err != nil {
		return nil, err
	}
	namespace := p.run.set.env["NOMAD_NAMESPACE"]
	res, err := t.Execute(&ct.ExecuteInput{
		Brain:  p.run.brain,
		Config: &config.Config{Nomad: &config.NomadConfig{Namespace: &namespace}},
	})
	if err != nil {
		return nil, err
	}
	p.deps = res.Used.List()
	for _, d := range res.Missing.List() {
		p.missing = true
		if _, known := p.run.brain.Recall(d); known {
			// The safe functions refuse an empty answer for ever.
			p.job.fail(ErrMissing, fmt.Errorf("%s: empty", d))
			return nil, nil
		}
		p.job.lookup = append(p.job.lookup, d)
	}
	return res.Output, nil
}

// funcs are the functions over our own Reader, files and environment. They
// replace the library's of the same name; the denylist is stronger than both.
func (p *pass) funcs() stdtemplate.FuncMap {
	m := stdtemplate.FuncMap{
		"secret":       p.secret,
		"secrets":      p.secrets,
		"pkiCert":      p.pkiCert,
		"file":         p.file,
		"writeToFile":  p.writeToFile,
		"env":          p.env,
		"mustEnv":      p.mustEnv,
		"envOrDefault": p.envOrDefault,
		"spew_dump":    func(...any) string { return p.printed("spew_dump", "spew_sdump") },
		"spew_printf":  func(string, ...any) string { return p.printed("spew_printf", "spew_sprintf") },
	}
	if p.run.dry && p.job.t.text.library {
		m["plugin"] = func(...string) string { p.missing = true; return "" }
	}
	for _, pattern := range p.job.t.spec.FunctionDenylist {
		for name := range m {
			if glob.Glob(pattern, name) {
				m[name] = denied
			}
		}
	}
	return m
}

var errHelper = errors.New("a function of the library")

func denied(...any) (string, error) { return "", errors.New("function is disabled") }

// printed stands for the two functions that print to the standard output,
// where a secret must not go.
func (p *pass) printed(name, instead string) string {
	p.run.set.opts.Log.Warn(name+" prints nothing; "+instead+" renders the same into the template",
		"template", p.job.t.label)
	return ""
}

// answer returns what is known of a request; otherwise it records the wish.
func (p *pass) answer(req Request) (Result, bool) {
	key := req.Key()
	res, ok := p.run.answers[key]
	switch {
	case !ok:
		p.missing = true
		if !slices.ContainsFunc(p.job.want, func(r Request) bool { return r.Key() == key }) {
			p.job.want = append(p.job.want, req)
		}
		return Result{}, false
	case res.Err != nil:
		// Another template asked before, in vain.
		p.used[key] = req
		p.job.fail(nil, fmt.Errorf("%s: %w", describe(req), res.Err))
		return Result{}, false
	}
	p.used[key] = req
	return res, true
}

// secret "path" reads, secret "path" "k=v" writes.
func (p *pass) secret(args ...string) (any, error) {
	if len(args) == 0 {
		return nil, nil
	}
	var req Request
	var err error
	if len(args) == 1 {
		req, err = readRequest(args[0])
	} else {
		req, err = writeRequest(args[0], args[1:])
	}
	if err != nil {
		return nil, err
	}
	res, ok := p.answer(req)
	switch {
	case !ok:
		return nil, nil
	case req.Op == OpWrite && nothing(res.Secret):
		return (*dep.Secret)(nil), nil
	}
	return toLibrary(res.Secret), nil
}

// secrets "path" lists, sorted.
func (p *pass) secrets(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	path = strings.Trim(strings.TrimSpace(path), "/")
	if path == "" {
		return nil, errors.New("path is empty")
	}
	res, ok := p.answer(Request{Op: OpList, Path: path})
	if !ok {
		return []string{}, nil
	}
	list, _ := res.Secret.Data["keys"].([]any)
	names := make([]string, 0, len(list))
	for _, v := range list {
		name, ok := v.(string)
		if !ok {
			return nil, errors.New("the list holds something that is no name")
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// readRequest takes "path?query" apart.
func readRequest(arg string) (Request, error) {
	s := strings.Trim(strings.TrimSpace(arg), "/")
	if s == "" {
		return Request{}, errors.New("path of a secret is empty")
	}
	// With a slash in front, the colon in "kv:prod/app" makes no scheme.
	u, err := url.Parse("/" + s)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return Request{}, fmt.Errorf("path of a secret: %w", err)
	}
	path := strings.Trim(u.Path, "/")
	if path == "" {
		return Request{}, errors.New("path of a secret is empty")
	}
	return Request{Op: OpRead, Path: path, Query: u.Query().Encode()}, nil
}

// writeRequest takes the path and the k=v pairs of a write; an empty pair is
// passed over, so that `secret "path" ""` writes nothing to path.
func writeRequest(path string, pairs []string) (Request, error) {
	path = strings.Trim(strings.TrimSpace(path), "/")
	if path == "" {
		return Request{}, errors.New("path of a secret is empty")
	}
	body := map[string]any{}
	for i, pair := range pairs {
		if pair == "" {
			continue
		}
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			// The pair may be a secret that lost its name; do not quote it.
			return Request{}, fmt.Errorf("argument %d after the path is not k=v", i+1)
		}
		body[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	return Request{Op: OpWrite, Path: path, Body: body}, nil
}
