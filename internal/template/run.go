package template

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	dep "github.com/hashicorp/consul-template/dependency"
	ct "github.com/hashicorp/consul-template/template"

	"latchkey/internal/cred"
)

// maxPasses bounds how often a template may ask for something new. A folder
// tree that is walked needs one pass for each level.
const maxPasses = 100

// run is one Render, or one round of a Watch: what is known so far, and where
// each template stands.
type run struct {
	set    *Set
	reader Reader
	brain  *ct.Brain
	remote *remote
	// round is what a Watch wants to know of its runs, nil elsewhere.
	round *round
	// seen are the answers of Consul and Nomad, for scrub.
	seen []any
	// dry is a look at what would be asked for; no program is started.
	dry bool

	answers map[string]Result // by Request.Key
	certs   map[string]certificate
	jobs    []*job
}

// job is one template in a run.
type job struct {
	t    *tmpl
	done bool
	err  error
	// inLibrary says that the first pass is over.
	inLibrary bool

	// What the last pass asked for and did not have.
	want   []Request
	pki    []Request
	lookup []dep.Dependency
	// own holds certificates that this template found in its own files.
	own map[string]certificate
	// inputs is what the last pass saw.
	inputs inputs

	output []byte
	side   []sideFile
	result Outcome
	// watched is where a Watch keeps what outlives this job, nil elsewhere. rendered
	// is whether it was before, value what its variable held then.
	watched  *watched
	rendered bool
	value    cred.Redacted
}

// inputs is what a pass saw: answers by Request.Key, queries for Consul and
// Nomad, certificates by Request.Key, and files by path (in a Watch only).
type inputs struct {
	used  map[string]Request
	deps  []dep.Dependency
	certs map[string]certificate
	files map[string]stamp
}

func (s *Set) newRun(r Reader, remote *remote) *run {
	return &run{
		set: s, reader: r, brain: ct.NewBrain(), remote: remote,
		answers: map[string]Result{}, certs: map[string]certificate{},
	}
}

func newJob(t *tmpl) *job { return &job{t: t, result: t.outcome()} }

func (t *tmpl) outcome() Outcome {
	return Outcome{Name: t.spec.Name, Destination: t.spec.Destination, Variable: t.spec.Variable}
}

// all has every template of the set in the run.
func (u *run) all() *run {
	for _, t := range u.set.templates {
		u.jobs = append(u.jobs, newJob(t))
	}
	return u
}

// open returns the templates that are neither rendered nor failed.
func (u *run) open() []*job {
	var open []*job
	for _, j := range u.jobs {
		if !j.done {
			open = append(open, j)
		}
	}
	return open
}

// fail ends a job.
func (j *job) fail(kind, err error) {
	j.done, j.err = true, j.t.fail(kind, err)
	j.output, j.side = nil, nil
}

// tell hands a job that is done to the Watch, once.
func (u *run) tell(j *job) {
	if u.round != nil {
		u.round.finished(j)
	}
}

// held is the text that a variable holds, for certificates in it.
func (j *job) held() string { return j.value.Reveal() }

// evaluate runs one pass over the jobs and returns those that are complete.
func (u *run) evaluate(jobs []*job) (complete []*job) {
	for _, j := range jobs {
		j.want, j.pki, j.lookup = nil, nil, nil
		if j.t.text == nil {
			u.evaluatePlain(j)
		} else {
			u.evaluateText(j)
		}
		if j.done {
			u.tell(j)
		} else if len(j.want)+len(j.pki)+len(j.lookup) == 0 {
			complete = append(complete, j)
		}
	}
	return complete
}

// fetch gets everything that the jobs want: one ReadAll, beside it the queries
// for Consul and Nomad. Jobs that wanted something that failed have failed.
func (u *run) fetch(ctx context.Context, jobs []*job) {
	u.findCertificates(jobs)
	if u.round != nil {
		u.round.asking(jobs)
	}
	var reqs []Request
	asked := map[string]int{}
	deps := map[string]dep.Dependency{}
	for _, j := range jobs {
		for _, req := range slices.Concat(j.want, j.pki) {
			key := req.Key()
			if _, known := u.answers[key]; known {
				continue
			}
			i, again := asked[key]
			if !again {
				i = len(reqs)
				asked[key] = i
				reqs = append(reqs, req)
			}
			reqs[i].Fresh = reqs[i].Fresh || req.Fresh
		}
		for _, d := range j.lookup {
			deps[d.String()] = d
		}
	}
	var wg sync.WaitGroup
	if s, ok := u.reader.(Streamer); ok && len(deps) == 0 {
		jobs = u.stream(ctx, s, reqs, jobs)
	} else {
		wg.Go(func() { u.readAll(ctx, reqs) })
	}
	failed := u.remote.fetchAll(ctx, deps, u.brain.Remember)
	wg.Wait()
	for _, d := range deps {
		if data, ok := u.brain.Recall(d); ok {
			u.seen = append(u.seen, data)
		}
	}
	for _, j := range jobs {
		u.settle(j, failed)
	}
}

func (u *run) readAll(ctx context.Context, reqs []Request) {
	if len(reqs) == 0 {
		return
	}
	results := u.reader.ReadAll(ctx, reqs)
	for i, req := range reqs {
		var res Result
		if i < len(results) {
			res = results[i]
		}
		u.answers[req.Key()] = answered(res)
	}
}

// answered makes an error of an answer that is none.
func answered(res Result) Result {
	if res.Secret == nil && res.Err == nil {
		res.Err = errors.New("no answer")
	}
	return res
}

// settle fails the job whose wishes were not granted.
func (u *run) settle(j *job, failed map[string]error) {
	var errs []error
	for _, req := range j.want {
		if err := u.answers[req.Key()].Err; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", describe(req), err))
		}
	}
	for _, req := range j.pki {
		if err := u.issued(req); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", describe(req), err))
		}
	}
	for _, d := range j.lookup {
		if err := failed[d.String()]; err != nil {
			errs = append(errs, err)
		}
	}
	// Each cause carries the template's name, for each is told by itself.
	for i, err := range errs {
		errs[i] = j.t.fail(nil, err)
	}
	if len(errs) > 0 {
		j.done, j.err = true, errors.Join(errs...)
		u.tell(j)
	}
}

// describe names a request for a message; it never shows a body.
func describe(r Request) string {
	switch {
	case r.Op == OpWrite:
		return "write " + r.Path
	case r.Op == OpList:
		return "list " + r.Path
	case r.Query != "":
		return "secret " + r.Path + "?" + r.Query
	}
	return "secret " + r.Path
}

// toLibrary turns an answer into what templates for consul-template expect. The
// maps are copied, for some functions change the map that they are given.
func toLibrary(s *cred.Secret) *dep.Secret {
	out := &dep.Secret{
		RequestID:     s.RequestID,
		LeaseID:       s.Lease.ID,
		LeaseDuration: int(s.Lease.Duration.Seconds()),
		Renewable:     s.Lease.Renewable,
		Warnings:      s.Warnings,
	}
	if s.Data != nil {
		out.Data = copyValue(s.Data).(map[string]any)
	}
	if a := s.Auth; a != nil {
		out.Auth = &dep.SecretAuth{
			ClientToken:   a.Value.Reveal(),
			Accessor:      a.Accessor,
			Policies:      a.Policies,
			Metadata:      a.Metadata,
			LeaseDuration: int(a.Lease.Duration.Seconds()),
			Renewable:     a.Lease.Renewable,
		}
	}
	if w := s.Wrap; w != nil {
		out.WrapInfo = &dep.SecretWrapInfo{
			Token:           w.Token.Reveal(),
			TTL:             int(w.TTL.Seconds()),
			CreationTime:    w.CreationTime,
			WrappedAccessor: w.WrappedAccessor,
		}
	}
	return out
}

// nothing reports an answer without content.
func nothing(s *cred.Secret) bool {
	return s.RequestID == "" && s.Data == nil && s.Auth == nil && s.Wrap == nil &&
		s.Lease.ID == "" && len(s.Warnings) == 0
}

func copyValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = copyValue(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = copyValue(e)
		}
		return out
	}
	return v
}
