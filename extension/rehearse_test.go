package extension

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/guard"
)

// once is a Work that is due until it went well.
type once struct {
	fails error
	done  int
}

func (o *once) Name() string { return "once" }

func (o *once) Due() time.Time {
	if o.done > 0 {
		return time.Time{}
	}
	return time.Unix(0, 0)
}

func (o *once) Tend(context.Context, time.Time) error {
	if o.fails == nil {
		o.done++
	}
	return o.fails
}

func TestOutsideOfLambdaAStartIsTriedOnceAndEnds(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*Job)
		ends   bool
		says   string
	}{
		"all goes well":            {func(*Job) {}, true, "could start"},
		"also what a snapshot has": {func(j *Job) { j.Deferred = true }, true, "could start"},
		"settings":                 {func(j *Job) { j.Fault = errors.New("VAULT_RUN_MODE: is nothing") }, false, "VAULT_RUN_MODE"},
		"a file":                   {func(j *Job) { j.Early[0].(*once).fails = errors.New("no such secret") }, false, "no such secret"},
		"open changes nothing": {func(j *Job) {
			j.FailOpen = true
			j.Late[0].(*once).fails = errors.New("no login")
		}, false, "no login"},
	} {
		var log bytes.Buffer
		early, late, revoked := &once{}, &once{}, 0
		j := Job{
			Early: []Work{early}, Late: []Work{late}, Budget: time.Minute, Log: slog.New(slog.NewTextHandler(&log, nil)),
			Listeners: []config.Listener{{Type: "tcp", Address: "127.0.0.1:0", TLSDisable: true}},
			Guards:    func(config.Listener) guard.Options { return guard.Options{} },
			Proxy:     func(string) http.Handler { return http.NotFoundHandler() },
			Revoke:    func(context.Context) error { revoked++; return nil },
		}
		c.change(&j)
		err := Rehearse(t.Context(), j)
		if (err == nil) != c.ends || !strings.Contains(log.String(), c.says) || !strings.Contains(log.String(), "AWS_LAMBDA_RUNTIME_API") {
			t.Errorf("%s: %v, %s", what, err, log.String())
		}
		if c.ends && (early.done != 1 || late.done != 1) || revoked != 1 {
			t.Errorf("%s: done %d and %d times, revoked %d", what, early.done, late.done, revoked)
		}
	}
}

func TestOutsideOfLambdaAPortThatIsTakenIsTold(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var log bytes.Buffer
	err = Rehearse(t.Context(), Job{
		Budget: time.Minute, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Listeners: []config.Listener{{Type: "tcp", Address: l.Addr().String(), TLSDisable: true}},
		Guards:    func(config.Listener) guard.Options { return guard.Options{} },
		Proxy:     func(string) http.Handler { return http.NotFoundHandler() },
	})
	if err == nil || !strings.Contains(log.String(), kindListen) {
		t.Errorf("%v, %s", err, log.String())
	}
}
