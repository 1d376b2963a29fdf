package wiring

import (
	"context"
	"strings"

	"latchkey/internal/child"
	"latchkey/internal/template"
)

// runner lets templates run commands without knowing the room that does.
type runner struct{ child.Runner }

func (r runner) Run(ctx context.Context, c template.Command) error {
	return r.Runner.Run(ctx, child.Command(c))
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
