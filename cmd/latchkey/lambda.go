package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"latchkey/extension"
	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/hcl"
	"latchkey/internal/lambdaenv"
	"latchkey/internal/lease"
	"latchkey/internal/listen"
	"latchkey/internal/methods"
	"latchkey/internal/sink"
	"latchkey/internal/sockaddr"
	"latchkey/internal/template"
	"latchkey/internal/wiring"
)

// runsInLambda reports whether Lambda started us as an extension: it gives no
// arguments, and says where its API is.
func runsInLambda(w world) bool {
	_, inside := w.lookup("AWS_LAMBDA_RUNTIME_API")
	return inside && len(w.args) == 0
}

// runExtension is the large extension of a Lambda function: what
// cmd/latchkey-extension does, and configuration files.
func runExtension(ctx context.Context, w world) int {
	s, err := lambdaenv.Read(w.environ)
	if err == nil && s.Config != "" {
		err = configure(s, w)
	}
	x := extension.World{
		Path: w.path, Environ: w.environ, Method: methods.All(w.environ).Lookup, Version: version,
		Log: extension.LoggerFor(w.stderr, s),
	}
	job := extension.Begin(x, s, err)
	if job.Fault == nil {
		job.Fault = furnish(&job, x, s, w.stderr)
	}
	if err := extension.Start(ctx, job); err != nil {
		// The platform and the log have been told; the code is for whoever looks.
		_, code := explain(err)
		return code
	}
	return exitDone
}

// configure reads LATCHKEY_CONFIG, a path or the configuration itself, and lays the
// settings over it.
func configure(s *lambdaenv.Settings, w world) error {
	o := config.Options{Env: w.lookup, Lex: hcl.Lex}
	var l *config.Loaded
	var err error
	if s.Inline() {
		l, err = config.LoadText("LATCHKEY_CONFIG", s.Config, o)
	} else {
		l, err = config.Load([]string{s.Config}, o)
	}
	if err == nil {
		_, err = s.Over(l)
	}
	return err
}

// furnish adds to a job what a configuration says.
func furnish(job *extension.Job, x extension.World, s *lambdaenv.Settings, out io.Writer) error {
	parts, err := wiring.BuildKept(s.File, wiring.Options{
		Method: x.Method, Environ: x.Environ, Origins: s.Origins, Stdout: out, Output: out,
		Observer: x.Observe, Log: x.Log, Version: version, Attempt: s.Attempt, DialTimeout: extension.DialTimeout, HTTP1: true,
	})
	if err != nil {
		return lambdaenv.Called(err)
	}
	f := newFurniture(parts)
	more := extension.Extra{Works: f.works(), Changed: f.changed, Reference: template.Key, Open: openFully}
	if len(s.File.EnvTemplates) > 0 {
		more.Variables = f.templates.Variables
	}
	return job.Arrange(x, s, parts.Access, more)
}

// furniture is what a configuration file adds: sinks and templates.
type furniture struct {
	parts     *wiring.Kept
	sinks     []*handing
	leases    *lease.Manager // nil, as templates, when there are none
	templates *template.Watch
}

func newFurniture(p *wiring.Kept) *furniture {
	f := &furniture{parts: p}
	for _, i := range p.Logins() {
		if len(i.Sinks) > 0 {
			f.sinks = append(f.sinks, &handing{identity: i.Name, sinks: i.Sinks, o: p.SinkKeep})
		}
	}
	if p.Templates != nil {
		f.leases = lease.New(p.Leases)
		f.templates = p.Templates.Watch(f.leases, p.Watch)
	}
	return f
}

func (f *furniture) works() []extension.Work {
	var works []extension.Work
	for _, s := range f.sinks {
		works = append(works, s)
	}
	if f.templates != nil {
		works = append(works, keptLeases{f.leases, f.templates}, rendering{f.templates})
	}
	return works
}

// changed hands a new token on.
func (f *furniture) changed(identity string, t cred.Token) {
	for _, s := range f.sinks {
		if s.identity == identity {
			s.deliver(t)
		}
	}
	if f.leases != nil && identity == f.parts.Logins()[0].Name {
		f.leases.Use(f.parts.Identity())
	}
}

// keptLeases is the work of keeping what templates read.
type keptLeases struct {
	*lease.Manager
	templates *template.Watch
}

// Name implements extension.Work.
func (k keptLeases) Name() string { return "leases of templates" }

// Tend implements extension.Work.
func (k keptLeases) Tend(ctx context.Context, by time.Time) error {
	return k.Manager.Tend(ctx, by, func(keys []string) { k.templates.Changed(keys...) })
}

// rendering is the work of having every template rendered.
type rendering struct{ *template.Watch }

// Tend implements extension.Work.
func (r rendering) Tend(ctx context.Context, by time.Time) error {
	err := r.Watch.Tend(ctx, by, nil)
	if errors.Is(err, template.ErrCommand) || errors.Is(err, template.ErrWrite) || errors.Is(err, template.ErrRender) {
		return extension.Output(err)
	}
	return err
}

// handing is the work of a token's being in all its sinks.
type handing struct {
	identity string
	sinks    []sink.Sink
	o        sink.KeepOptions

	mu    sync.Mutex
	token cred.Token
	due   time.Time
}

func (h *handing) deliver(t cred.Token) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.token, h.due = t, time.Unix(0, 0)
}

// Name implements extension.Work.
func (h *handing) Name() string { return "sinks" }

// Due implements extension.Work.
func (h *handing) Due() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.due
}

// Tend implements extension.Work.
func (h *handing) Tend(ctx context.Context, by time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.due.IsZero() || h.due.After(by) {
		return nil
	}
	err := sink.WriteAll(ctx, h.sinks, h.token, h.o.Retry, h.o.Observer)
	if err != nil {
		h.due = time.Now().Add(h.o.Retry.Pause(1, err)).Round(0)
		return extension.Output(err)
	}
	h.due = time.Time{}
	return nil
}

// openFully opens a listener as a configuration file describes it.
func openFully(l config.Listener, name string, log *slog.Logger) (extension.Opened, error) {
	o := listen.Options{Name: name, Log: log, Evaluate: sockaddr.Evaluate}
	ln, _, err := listen.Open(l, o)
	if err != nil {
		return extension.Opened{}, err
	}
	for _, warning := range listen.Warnings(l, o, ln.Addr()) {
		log.Warn(warning.String())
	}
	return extension.Serving(l, ln, log), nil
}
