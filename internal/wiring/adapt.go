package wiring

import (
	"context"
	"fmt"
	"os"

	"latchkey/internal/child"
	"latchkey/internal/config"
	"latchkey/internal/environ"
	"latchkey/internal/handover"
	"latchkey/internal/session"
	"latchkey/internal/sink"
	"latchkey/internal/template"
)

// runner lets templates run commands without knowing the room that does.
type runner struct{ child.Runner }

func (r runner) Run(ctx context.Context, c template.Command) error {
	return r.Runner.Run(ctx, child.Command(c))
}

// notifier lets sinks tell their readers without knowing the room that does.
type notifier struct{ child.Runner }

func (n notifier) Run(ctx context.Context, c sink.Command) error {
	return n.Runner.Run(ctx, child.Command(c))
}

func (notifier) Signal(pid int, name string) error { return child.SignalProcess(pid, name) }

// kept is where a token is kept for the next start, nil for nowhere. What the
// configuration says of that itself comes before the file of the cache.
func kept(a *config.AutoAuth, f *config.File, o Options) session.Handover {
	switch h := a.Handover; {
	case h != nil && o.stays:
		return handover.New(handover.Options{Path: h.Path, Key: keyMaterial(h.KeyFile, h.KeyEnv, o), Bind: f.LoginOf(a)})
	case o.Persist != nil && a.Method.WrapTTL == 0:
		return o.Persist.Handover(a.Known() + " " + f.LoginOf(a))
	}
	return nil
}

// keyMaterial reads a key from a variable or a file, whenever it is asked for.
func keyMaterial(file, variable string, o Options) func() ([]byte, error) {
	return func() ([]byte, error) {
		if variable == "" {
			return os.ReadFile(file)
		}
		value, _ := environ.Lookup(o.Environ)(variable)
		if value == "" {
			return nil, fmt.Errorf("the variable %s is empty or not set", variable)
		}
		return []byte(value), nil
	}
}
