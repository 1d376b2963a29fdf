package template

import (
	"errors"
	"slices"

	"latchkey/internal/atomicfile"
)

// Plan is what a template would do, as far as that is known without its
// secrets.
type Plan struct {
	Name                  string
	Destination, Variable string
	// Requests are those of the first pass. What a template asks for only
	// when it has seen a secret is not among them.
	Requests []Request
	// Remote names the queries for Consul and Nomad: "kv.block(app/port)".
	Remote []string
	// Err is why the template would fail whatever the secrets say.
	Err error

	t *tmpl
}

// Requests evaluates every template once with nothing known. It reads no
// secret, starts no program, and writes nothing.
func (s *Set) Requests() []Plan {
	u := s.newRun(nil, nil).all()
	u.dry = true
	u.evaluate(u.jobs)
	var plans []Plan
	for _, j := range u.jobs {
		p := Plan{
			Name: j.t.spec.Name, Destination: j.t.spec.Destination, Variable: j.t.spec.Variable,
			Requests: slices.Concat(j.want, j.pki), Err: j.err, t: j.t,
		}
		for _, d := range j.lookup {
			p.Remote = append(p.Remote, d.String())
		}
		plans = append(plans, p)
	}
	return plans
}

// CheckWritable reports whether the destination, and the files that the text
// names in writeToFile, could be written by this user with the mode and owner
// asked for; a variable always can. It leaves nothing behind; the error is ErrWrite.
func (p Plan) CheckWritable() error {
	var errs []error
	if p.t.spec.Variable == "" {
		if err := atomicfile.Check(p.t.spec.Destination, p.t.file); err != nil {
			errs = append(errs, p.t.fail(ErrWrite, err))
		}
	}
	if p.t.text != nil {
		for _, path := range p.t.text.targets {
			o := atomicfile.Options{Mode: 0o600, UID: -1, GID: -1, MakeDirs: true}
			if err := atomicfile.Check(path, o); err != nil {
				errs = append(errs, p.t.fail(ErrWrite, err))
			}
		}
	}
	return errors.Join(errs...)
}
