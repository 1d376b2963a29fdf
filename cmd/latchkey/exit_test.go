package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"latchkey/internal/auth"
	"latchkey/internal/child"
	"latchkey/internal/config"
	"latchkey/internal/retry"
	"latchkey/internal/session"
	"latchkey/internal/sink"
	"latchkey/internal/template"
	"latchkey/internal/vault"
	"latchkey/oneshot"
)

func wrapped(kind, err error) error { return fmt.Errorf("somewhere: %w: %w", kind, err) }

func answer(kind error) error { return &vault.Error{Kind: kind, Op: "read", Path: "x"} }

func TestExitCodes(t *testing.T) {
	exhausted := func(err error) error {
		return &retry.Exhausted{Attempts: 3, Last: err, Ended: context.DeadlineExceeded}
	}
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"usage", usageError{"x"}, 2},
		{"a problem", &config.Problem{Text: "x"}, 2},
		{"problems", config.Problems{{Text: "x"}}, 2},
		{"template source is not there", wrapped(template.ErrSource, errors.New("x")), 2},
		{"template does not parse", wrapped(template.ErrParse, errors.New("x")), 2},
		{"revocation refused", oneshot.ErrRevokeRefused, 2},
		{"login refused", wrapped(session.ErrLogin, answer(vault.ErrBadRequest)), 3},
		{"login denied", wrapped(session.ErrLogin, answer(vault.ErrDenied)), 3},
		{"login without a token", wrapped(session.ErrLogin, answer(vault.ErrNoToken)), 3},
		{"login at no mount", wrapped(session.ErrLogin, answer(vault.ErrNotFound)), 3},
		{"no credentials until the deadline", wrapped(session.ErrLogin, exhausted(auth.ErrCredentials)), 3},
		{"login: server away until the deadline", wrapped(session.ErrLogin, exhausted(answer(vault.ErrUnreachable))), 5},
		{"login: sealed", wrapped(session.ErrLogin, answer(vault.ErrSealed)), 5},
		{"login: nobody vouches for the server", wrapped(session.ErrLogin, answer(vault.ErrInsecure)), 5},
		{"secret missing", answer(vault.ErrNotFound), 4},
		{"secret denied", answer(vault.ErrDenied), 4},
		{"token invalid", answer(vault.ErrInvalidToken), 4},
		{"request refused", answer(vault.ErrBadRequest), 4},
		{"key missing", wrapped(template.ErrMissing, errors.New("x")), 4},
		{"secret missing until the deadline", exhausted(answer(vault.ErrNotFound)), 4},
		{"sink may not wrap", wrapped(sink.ErrWrite, answer(vault.ErrDenied)), 4},
		{"read: server away", answer(vault.ErrUnreachable), 5},
		{"sink: server away", wrapped(sink.ErrWrite, answer(vault.ErrSealed)), 5},
		{"deadline and nothing else", wrapped(template.ErrRender, context.DeadlineExceeded), 5},
		{"sink unwritable", wrapped(sink.ErrWrite, errors.New("x")), 6},
		{"a sink's command ends with a code", wrapped(sink.ErrNotify, &child.ExitError{Program: "sh", Code: 77}), 6},
		{"a sink's command is not there", wrapped(sink.ErrNotify, &child.StartError{Program: "sh", Err: fs.ErrNotExist}), 6},
		{"a sink's signal has no pid file", wrapped(sink.ErrNotify, fs.ErrNotExist), 6},
		{"the output of the process of exec cannot be opened", wrapped(child.ErrOutput, fs.ErrPermission), 6},
		{"template unwritable", wrapped(template.ErrWrite, errors.New("x")), 6},
		{"template fails", wrapped(template.ErrRender, errors.New("x")), 6},
		{"command fails", wrapped(template.ErrCommand, errors.New("x")), 6},
		{"ours", errors.New("x"), 1},
		{"no daemon answers", noAnswer{errors.New("x")}, 5},
		{"the process of exec ends with a code", &child.ExitError{Program: "app", Code: 77}, 77},
		{"a signal ends the process of exec", &child.ExitError{Program: "app", Code: -1, Signal: "SIGKILL"}, 137},
		{"the process of exec ends, and something goes wrong after it", errors.Join(&child.ExitError{Program: "app", Code: 77}, errors.New("x")), 77},
		{"the process of exec is not there", &child.StartError{Program: "app", Err: fs.ErrNotExist}, 127},
		{"the process of exec cannot be started", &child.StartError{Program: "app", Err: fs.ErrPermission}, 126},
		{"a template's command ends with a code", wrapped(template.ErrCommand, &child.ExitError{Program: "sh", Code: 77}), 6},
		{"several: the lowest counts", errors.Join(wrapped(sink.ErrWrite, errors.New("x")), answer(vault.ErrNotFound)), 4},
		{"a refused revocation beside what failed", errors.Join(oneshot.ErrRevokeRefused, answer(vault.ErrNotFound)), 4},
		{"several, wrapped", fmt.Errorf("all: %w", errors.Join(wrapped(sink.ErrWrite, errors.New("x")), nil, answer(vault.ErrSealed))), 5},
	} {
		text, got := explain(c.err)
		if got != c.want {
			t.Errorf("%s: exit code %d, want %d (%s)", c.name, got, c.want, text)
		}
		if strings.Contains(text, "\n") {
			t.Errorf("%s: the last line is several: %q", c.name, text)
		}
	}
}

func TestEveryCodeIsInTheHelp(t *testing.T) {
	for code := exitDone; code <= exitNotReady; code++ {
		if !strings.Contains(exitCodesHelp, fmt.Sprintf("  %d  ", code)) {
			t.Errorf("code %d is not explained", code)
		}
	}
}
