package extension

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"latchkey/internal/access"
	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/envwire"
	"latchkey/internal/lambdaenv"
	"latchkey/internal/reader"
	"latchkey/internal/ref"
	"latchkey/internal/session"
)

// wrapper is the variable that has Lambda start the runtime by another program.
const wrapper = "AWS_LAMBDA_EXEC_WRAPPER"

// environment makes the values of the function's variables, if there is a program
// to give them to; nil if not.
func (j *Job) environment(w World, s *lambdaenv.Settings, p *access.Parts, k *keeping, x Extra) (Work, error) {
	own := lambdaenv.Own()
	plan, err := ref.Find(w.Environ, ref.Options{Own: own, Reserved: reserved, Evaluate: x.Reference, Log: Named(w.Log, "environment")})
	switch {
	case w.variable(wrapper) == "":
		if err == nil && (!plan.Empty() || x.Variables != nil) {
			w.Log.Warn("the function's environment is to hold secrets, and nobody gives them to it: set " + wrapper + " to /opt/latchkey-exec")
		}
		return nil, nil
	case err != nil:
		return nil, &config.Problem{Text: err.Error()}
	}
	v := &variables{
		plan: plan, lend: k.lend, more: x.Variables,
		read: func(tok cred.Redacted) ref.Reader {
			return reader.New(p.Client.As(tok), reader.Options{
				Retry: access.ReadSchedule(s.File, s.Origins), Parallel: access.Parallel, Observer: w.Observe, Log: Named(w.Log, "environment"),
			})
		},
		hand: handOver{Environ: w.Environ, Own: own, Keep: append(plan.Passthrough(), s.EnvKeep...), Names: plan.Names()},
	}
	for _, note := range plan.Notes() {
		w.Log.Warn(note)
	}
	j.Environment = v.answer
	if j.Deferred && (!plan.Empty() || x.Variables != nil) {
		// The runtime is started, with its environment, before the snapshot is taken.
		return nil, &config.Problem{
			Key: "LATCHKEY_SNAPSTART", Text: "the values of the function's environment would be in its snapshot, and in every copy of it",
			Hint: "say init if that is meant; else have the function read files or ask the proxy",
		}
	}
	return v, nil
}

// variables is the work of having the values that the function is started with.
type variables struct {
	plan *ref.Plan
	lend *session.Pulled // nil without a login
	read func(cred.Redacted) ref.Reader
	// more are values of another origin; nil for none.
	more func() map[string]cred.Redacted
	hand handOver

	mu sync.Mutex
	// values wait for who starts the function. Whoever asks again, because the
	// function is started again, has them got anew.
	values     map[string]cred.Redacted
	got, asked bool
	err        error // of the last Tend
}

// Name implements Work.
func (v *variables) Name() string { return "environment" }

// Due implements Work: an environment is given once and cannot be changed later.
func (v *variables) Due() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.got {
		return time.Time{}
	}
	return time.Unix(0, 0)
}

// Tend implements Work.
func (v *variables) Tend(ctx context.Context, _ time.Time) error {
	values, err := v.resolve(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err = err; err != nil {
		return err
	}
	v.values, v.got = values, true
	return nil
}

// resolve asks for all values.
func (v *variables) resolve(ctx context.Context) (map[string]cred.Redacted, error) {
	values := map[string]cred.Redacted{}
	if v.more != nil {
		maps.Copy(values, v.more())
	}
	if v.plan.Empty() {
		return values, nil
	}
	if v.lend == nil {
		return nil, errors.New("references need a login")
	}
	tok, err := v.lend.Token(ctx)
	if err != nil {
		return nil, err
	}
	found, err := v.plan.Resolve(ctx, v.read(tok), tok)
	maps.Copy(values, found)
	return values, err
}

// anew is how long it may take to get the values for a function that is started
// again.
const anew = 1500 * time.Millisecond

// answer is for who starts the function. Where the start has just tried for as long as
// it may, the function has waited enough.
func (v *variables) answer(ctx context.Context) envwire.Answer {
	v.mu.Lock()
	h := v.hand
	h.Values, v.values = v.values, nil
	limit := anew
	if !v.asked && !v.got {
		limit, h.Err = 0, v.err
	}
	v.asked = true
	v.mu.Unlock()
	if h.Values == nil && h.Err == nil {
		ctx, cancel := context.WithTimeoutCause(ctx, limit, errLate)
		defer cancel()
		h.Values, h.Err = v.resolve(ctx)
	}
	return h.answer()
}
