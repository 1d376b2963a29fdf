// Package ref finds the variables of an environment that refer to secrets, and
// resolves them: "vault:PATH#KEY" and its kin, in the grammar of vault-env
// (internal/ref/grammar; docs/references.md has it for users).
//
// Find takes everything apart and reports all that is wrong at once, before anything
// is asked for. Resolve asks for each distinct request once, all together, and gives
// values that are exact to the byte. No error of either carries a value.
package ref

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"latchkey/internal/cred"
	"latchkey/internal/envwire"
	"latchkey/internal/ref/grammar"
)

// Reader answers requests in their order; internal/reader satisfies it.
type Reader interface {
	ReadAll(ctx context.Context, reqs []cred.Request) []cred.Result
}

// Options are what an environment does not say itself.
type Options struct {
	// Own are names, and beginnings of names with a * at the end, of variables that
	// the program itself reads: they refer to nothing, whatever they hold. A token
	// that asks for the login's is one all the same.
	Own []string
	// Reserved are names like Own that VAULT_ENV_FROM_PATH may not set, besides
	// those that no answer of a server ever should (see docs/references.md).
	Reserved []string
	// Evaluate evaluates a key that is a template, with the delimiters ${ and }, over
	// the fields of an answer. Its error must carry no value. Without it such a key is
	// an error of Find.
	Evaluate func(text string, data map[string]any) (string, error)
	// Log hears what was left out because it is missing; nil for nobody.
	Log *slog.Logger
}

// Plan is what an environment refers to. It holds no secrets, but for the bodies of
// writes.
type Plan struct {
	o         Options
	variables []variable
	from      []source
	declared  map[string]bool
	transit   transit
	ignore    bool
	keep      []string
	notes     []string
}

// variable is one whose value refers to something.
type variable struct {
	name  string
	parts []part
}

// part is a grammar.Part and the request that a Field of it is in the answer to.
type part struct {
	grammar.Part
	request cred.Request
}

// source is one of VAULT_ENV_FROM_PATH: each field is a variable.
type source struct {
	setting string
	request cred.Request
}

// ErrMissing: the secret is there, and has no field of that name. That a secret is
// missing is vault.ErrNotFound.
var ErrMissing = errors.New("the secret has no such field")

// Error is what is wrong with a variable. Path and Key are empty where it is not
// about one.
type Error struct {
	Variable, Path, Key string
	Cause               error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Variable)
	if e.Path != "" {
		b.WriteString(": " + e.Path)
	}
	if e.Key != "" {
		b.WriteString("#" + e.Key)
	}
	return b.String() + ": " + e.Cause.Error()
}

func (e *Error) Unwrap() error { return e.Cause }

// Find takes an environment, a list of NAME=value, apart. Of a name that is in it
// twice the first counts. The error joins an *Error for each variable and setting that
// cannot be followed.
func Find(environ []string, o Options) (*Plan, error) {
	p := &Plan{o: o, declared: make(map[string]bool, len(environ))}
	env := make(map[string]string)
	var others []string
	for _, entry := range environ {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || name == "" || p.declared[name] {
			continue
		}
		p.declared[name] = true
		if setting(name) {
			env[name] = value
			continue
		}
		others = append(others, entry)
	}
	errs := []error{p.settings(env)}
	for _, entry := range others {
		name, value, _ := strings.Cut(entry, "=")
		errs = append(errs, p.add(name, value))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return p, nil
}

// add takes one variable apart.
func (p *Plan) add(name, value string) error {
	if envwire.Matches(p.o.Own, name) && !envwire.Matches(p.keep, name) && !grammar.LoginName(name) {
		return nil
	}
	parsed, err := grammar.Parse(name, value)
	if err != nil {
		return &Error{Variable: name, Cause: err}
	}
	if len(parsed) == 0 {
		if grammar.Near(value) {
			p.notes = append(p.notes, name+" looks like a reference and is none, having no #KEY: it is left as it is")
		}
		return nil
	}
	v := variable{name: name}
	for _, g := range parsed {
		x := part{Part: g}
		switch {
		case g.Kind == grammar.Cipher && p.transit.key == "":
			return &Error{Variable: name, Cause: errors.New("transit ciphertext, and VAULT_TRANSIT_KEY_ID does not say with which key it was encrypted")}
		case g.Kind == grammar.Field:
			if g.Template() && p.o.Evaluate == nil {
				return &Error{name, g.Path, g.Key, errors.New("a template as the key, which this program does not evaluate: the one with templates does")}
			}
			if x.request, err = request(g); err != nil {
				return &Error{name, g.Path, g.Key, err}
			}
		}
		v.parts = append(v.parts, x)
	}
	p.variables = append(p.variables, v)
	return nil
}

// request is what a Field asks for.
func request(g grammar.Part) (cred.Request, error) {
	if !g.Write {
		r := cred.Request{Op: cred.OpRead, Path: g.Path}
		if g.Tail != "" {
			r.Query = "version=" + g.Tail
		}
		return r, nil
	}
	body, err := object(g.Tail)
	return cred.Request{Op: cred.OpWrite, Path: g.Path, Body: body}, err
}

// Empty reports whether there is nothing to resolve.
func (p *Plan) Empty() bool { return len(p.variables) == 0 && len(p.from) == 0 }

// Names are the variables that hold references, sorted: whoever leaves one without
// a value has to take it away, lest a reference be used as a password.
func (p *Plan) Names() []string {
	names := make([]string, 0, len(p.variables))
	for _, v := range p.variables {
		names = append(names, v.name)
	}
	slices.Sort(names)
	return names
}

// Login reports whether a variable asks for the token of the login.
func (p *Plan) Login() bool {
	return slices.ContainsFunc(p.variables, func(v variable) bool { return v.parts[0].Kind == grammar.Login })
}

// Passthrough are the variables of the program's own that are to stay
// (VAULT_ENV_PASSTHROUGH), and those that say how to reach the server where Login is
// asked for, since a token is of no use without.
func (p *Plan) Passthrough() []string {
	keep := slices.Clone(p.keep)
	if p.Login() {
		for _, name := range connection {
			keep = append(keep, "VAULT_"+name, "BAO_"+name)
		}
	}
	slices.Sort(keep)
	return slices.Compact(keep)
}

// Notes are remarks for people about what is no mistake for certain.
func (p *Plan) Notes() []string { return slices.Clone(p.notes) }

// connection are the variables, without their prefix, that a client needs beside a
// token.
var connection = [...]string{
	"ADDR", "AGENT_ADDR", "CACERT", "CACERT_BYTES", "CAPATH", "CLIENT_CERT", "CLIENT_KEY", "CLIENT_TIMEOUT",
	"SKIP_VERIFY", "NAMESPACE", "TLS_SERVER_NAME", "MAX_RETRIES", "RATE_LIMIT", "SRV_LOOKUP",
}
