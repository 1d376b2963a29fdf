package ref

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"latchkey/internal/cred"
	"latchkey/internal/envwire"
	"latchkey/internal/ref/grammar"
	"latchkey/internal/vault"
)

// Resolve asks for all that the plan needs, each distinct request once, and returns
// the variables with their values: those that held references, and those that
// VAULT_ENV_FROM_PATH adds. token is that of the login, for whoever asks for it.
//
// The error joins an *Error for each variable, with the error of the server below it.
// Where VAULT_IGNORE_MISSING_SECRETS is set, a variable whose secret or field is not
// there is left out and is no error.
func (p *Plan) Resolve(ctx context.Context, r Reader, token cred.Redacted) (map[string]cred.Redacted, error) {
	a := p.ask(ctx, r)
	values := make(map[string]cred.Redacted, len(p.variables))
	var errs []error
	for _, v := range p.variables {
		value, err := p.value(v, a, token)
		switch {
		case err == nil:
			values[v.name] = value
		case p.ignore && missing(err):
			p.leaveOut(ctx, err)
		default:
			errs = append(errs, err)
		}
	}
	for _, s := range p.from {
		if err := p.spread(ctx, s, a, values); err != nil {
			if p.ignore && missing(err) {
				p.leaveOut(ctx, err)
				continue
			}
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return values, nil
}

// missing reports whether all that is wrong is that something is not there.
func missing(err error) bool { return errors.Is(err, ErrMissing) || errors.Is(err, vault.ErrNotFound) }

func (p *Plan) leaveOut(ctx context.Context, err error) {
	if p.o.Log != nil {
		p.o.Log.WarnContext(ctx, "left out, for VAULT_IGNORE_MISSING_SECRETS is set", "error", err)
	}
}

func (p *Plan) say(ctx context.Context, what string, s source) {
	if p.o.Log != nil {
		p.o.Log.InfoContext(ctx, what, "of", s.setting, "path", s.request.Path)
	}
}

// answers are what came back, by the key of the request and by the ciphertext.
type answers struct {
	fields map[string]cred.Result
	plain  map[string]plain
}

// ask makes all requests of the plan at once.
func (p *Plan) ask(ctx context.Context, r Reader) answers {
	a := answers{map[string]cred.Result{}, map[string]plain{}}
	var reqs []cred.Request
	want := func(q cred.Request) {
		if _, known := a.fields[q.Key()]; !known {
			a.fields[q.Key()] = cred.Result{}
			reqs = append(reqs, q)
		}
	}
	var sealed []string
	for _, v := range p.variables {
		for _, x := range v.parts {
			switch {
			case x.Kind == grammar.Field:
				want(x.request)
			case x.Kind == grammar.Cipher && !slices.Contains(sealed, x.Text):
				sealed = append(sealed, x.Text)
			}
		}
	}
	for _, s := range p.from {
		want(s.request)
	}
	fields := len(reqs)
	groups := batches(sealed, p.transit.size)
	for _, batch := range groups {
		reqs = append(reqs, p.transit.decrypt(batch))
	}
	if len(reqs) == 0 {
		return a
	}
	res := r.ReadAll(ctx, reqs)
	for i, q := range reqs[:fields] {
		a.fields[q.Key()] = res[i]
	}
	for i, batch := range groups {
		p.transit.opened(ctx, r, batch, res[fields+i], a.plain)
	}
	return a
}

// value puts a variable together.
func (p *Plan) value(v variable, a answers, token cred.Redacted) (cred.Redacted, error) {
	if v.parts[0].Kind == grammar.Login {
		if token.Empty() {
			return token, &Error{Variable: v.name, Cause: errors.New("asks for the token of the login, and there is none")}
		}
		return token, nil
	}
	var b strings.Builder
	for _, x := range v.parts {
		text, err := p.text(x, a)
		if err != nil {
			return cred.Redacted{}, &Error{v.name, at(x.request), x.Key, err}
		}
		b.WriteString(text)
	}
	if strings.IndexByte(b.String(), 0) >= 0 {
		return cred.Redacted{}, &Error{Variable: v.name, Cause: errNUL}
	}
	return cred.Redact(b.String()), nil
}

var errNUL = errors.New("the value has a NUL byte in it, which no variable can hold; a file can")

// at is what an error says of where a request goes.
func at(r cred.Request) string {
	if r.Query != "" {
		return r.Path + "?" + r.Query
	}
	return r.Path
}

// text is what a part stands for.
func (p *Plan) text(x part, a answers) (string, error) {
	switch x.Kind {
	case grammar.Text:
		return x.Text, nil
	case grammar.Cipher:
		got := a.plain[x.Text]
		return got.text, got.err
	}
	res := a.fields[x.request.Key()]
	if res.Err != nil {
		return "", res.Err
	}
	data, err := fields(res.Secret)
	if err != nil {
		return "", err
	}
	if x.Template() {
		return p.o.Evaluate(x.Key, data)
	}
	return scalar(data, x.Key)
}

// fields are those of an answer, taken out of the wrapping of a version 2 key-value
// engine: there is one where "metadata" is a map with a version in it, beside
// "data". A secret of its own that has a field of that name stays as it is.
func fields(s *cred.Secret) (map[string]any, error) {
	inner, ok := s.Data["data"]
	metadata, _ := s.Data["metadata"].(map[string]any)
	if _, versioned := metadata["version"]; !ok || !versioned {
		return s.Data, nil
	}
	data, _ := inner.(map[string]any)
	if data == nil {
		return nil, fmt.Errorf("%w: this version of the secret is deleted", vault.ErrNotFound)
	}
	return data, nil
}

// scalar is a field as text: a string as it is, a number as the server wrote it.
func scalar(data map[string]any, key string) (string, error) {
	switch v := data[key].(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		if v {
			return "true", nil
		}
		return "false", nil
	case nil:
		if _, there := data[key]; there {
			return "", fmt.Errorf("%w: it is null", ErrMissing)
		}
		return "", ErrMissing
	case []any:
		return "", errors.New("the field is a list, and a variable holds text")
	case map[string]any:
		return "", errors.New("the field is a map, and a variable holds text")
	}
	return "", errors.New("the field is no text")
}

// spread adds the fields of a path as variables. What the environment says itself
// stands, and so does what came from a path before.
func (p *Plan) spread(ctx context.Context, s source, a answers, values map[string]cred.Redacted) error {
	fail := func(key string, err error) error {
		return &Error{s.setting, at(s.request), key, err}
	}
	res := a.fields[s.request.Key()]
	if res.Err != nil {
		return fail("", res.Err)
	}
	data, err := fields(res.Secret)
	if err != nil {
		return fail("", err)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if _, taken := values[name]; taken || p.declared[name] {
			p.say(ctx, name+" is there already, and stays as it is", s)
			continue
		}
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00"):
			errs = append(errs, fail(strconv.Quote(name), errors.New("is no name that a variable can have")))
			continue
		case envwire.Matches(reserved, name) || envwire.Matches(p.o.Reserved, name):
			errs = append(errs, fail(name, errors.New("decides what code a program runs, or how it is run: "+
				"a secret sets it only where the environment says so itself, with a reference of that name")))
			continue
		}
		text, err := scalar(data, name)
		if err == nil && strings.IndexByte(text, 0) >= 0 {
			err = errNUL
		}
		if err != nil {
			errs = append(errs, fail(name, err))
			continue
		}
		values[name] = cred.Redact(text)
	}
	return errors.Join(errs...)
}
