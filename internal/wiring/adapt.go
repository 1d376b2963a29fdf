package wiring

import (
	"context"
	"fmt"
	"os"
	"strings"

	"latchkey/internal/child"
	"latchkey/internal/config"
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

// kept is where a token is kept for the next start, nil for nowhere.
func kept(f *config.File, o Options) session.Handover {
	h := f.AutoAuth.Handover
	if h == nil {
		return nil
	}
	key := func() ([]byte, error) {
		if h.KeyEnv == "" {
			return os.ReadFile(h.KeyFile)
		}
		value, _ := lookup(o.Environ)(h.KeyEnv)
		if value == "" {
			return nil, fmt.Errorf("the variable %s is empty or not set", h.KeyEnv)
		}
		return []byte(value), nil
	}
	return handover.New(handover.Options{Path: h.Path, Key: key, Bind: f.Login()})
}

// lookup finds variables in a list of NAME=value.
func lookup(environ []string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, e := range environ {
			if k, v, _ := strings.Cut(e, "="); k == name {
				return v, true
			}
		}
		return "", false
	}
}
