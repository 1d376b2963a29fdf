package oneshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"latchkey/internal/cred"
	"latchkey/internal/reader"
	"latchkey/internal/retry"
	"latchkey/internal/session"
	"latchkey/internal/sink"
	"latchkey/internal/template"
	"latchkey/internal/vault"
	"latchkey/internal/vaulttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// method hands out a token that the server knows.
type method struct {
	token cred.Token
	err   error
}

func (m method) Login(context.Context, *vault.Client) (cred.Token, error) { return m.token, m.err }

// keeper is a sink that notes what it gets, or fails.
type keeper struct {
	name string
	got  cred.Token
	err  error
	// before is waited for, nil for nothing.
	before <-chan struct{}
}

func (k *keeper) Name() string { return k.name }

func (k *keeper) Write(ctx context.Context, tok cred.Token) error {
	if k.before != nil {
		select {
		case <-k.before:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	k.got = tok
	return k.err
}

// job returns a job against a fake server with a secret, and the file that its
// template writes.
func job(t *testing.T, spec template.Spec) (j Job, s *vaulttest.Server, dest string) {
	t.Helper()
	s = vaulttest.New(t)
	admin := s.Admin(t)
	admin.WriteKV2("secret", "app", vaulttest.Map{"v": "one"})
	admin.Policy("app", map[string][]string{"secret/data/*": {"read"}, "secret/metadata/folder/": {"list"}})
	token := admin.NewToken(vaulttest.Map{"policies": []string{"app"}, "ttl": "1h"})
	client, err := vault.New(vault.Config{Address: s.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if spec.Destination == "" {
		spec.Destination = filepath.Join(t.TempDir(), "out")
	}
	if spec.Contents == "" {
		spec.Contents = `{{ with secret "secret/app" }}{{ .Data.data.v }}{{ end }}`
	}
	spec.ErrorFatal = true
	set, err := template.New([]template.Spec{spec}, template.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tok := cred.Token{Value: cred.Redact(token), Accessor: "acc", Lease: cred.Lease{Duration: time.Hour}}
	s.Forget()
	return Job{
		Session: session.New(method{token: tok}, client, session.Options{Name: "test", Log: quiet}),
		Client:  client, Templates: set,
		SinkRetry: retry.Schedule{Attempts: 1}, Reads: reader.Options{Log: quiet}, Log: quiet,
	}, s, spec.Destination
}

func content(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

func TestEverythingIsDoneWhenRunReturns(t *testing.T) {
	j, s, dest := job(t, template.Spec{})
	a, b := &keeper{name: "a"}, &keeper{name: "b"}
	j.Sinks = []sink.Sink{a, b}
	rep, err := Run(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	if content(dest) != "one" || a.got.Accessor != "acc" || b.got.Accessor != "acc" {
		t.Errorf("file %q, sinks %v %v", content(dest), a.got, b.got)
	}
	if rep.Accessor != "acc" || rep.Sinks != 2 || len(rep.Templates.Templates) != 1 || rep.Took <= 0 {
		t.Errorf("report %+v", rep)
	}
	if n := len(s.Requests()); n != 2 {
		t.Errorf("%d requests, want preflight and read; no health, no renewal", n)
	}
}

func TestAFailedLoginTouchesNothing(t *testing.T) {
	j, s, dest := job(t, template.Spec{})
	refused := &vault.Error{Kind: vault.ErrDenied, Op: "login"}
	j.Session = session.New(method{err: refused}, j.Client, session.Options{Log: quiet})
	k := &keeper{name: "a"}
	j.Sinks = []sink.Sink{k}
	_, err := Run(t.Context(), j)
	if !errors.Is(err, session.ErrLogin) || !errors.Is(err, vault.ErrDenied) {
		t.Errorf("error is %v", err)
	}
	if k.got.Accessor != "" || content(dest) != "" || len(s.Requests()) != 0 {
		t.Error("something was done without a token")
	}
}

// hashicorp/vault's agent exits 0 here: the templates end its group while the
// sink still fails.
func TestASinkThatFailsFailsTheRunThoughTemplatesAreDone(t *testing.T) {
	j, _, dest := job(t, template.Spec{})
	good := &keeper{name: "good"}
	j.Sinks = []sink.Sink{&keeper{name: "bad", err: errors.New("disk full")}, good}
	_, err := Run(t.Context(), j)
	if !errors.Is(err, sink.ErrWrite) || !strings.Contains(err.Error(), "bad") {
		t.Errorf("error is %v", err)
	}
	if content(dest) != "one" || good.got.Accessor != "acc" {
		t.Error("what could be done was not")
	}
}

func TestASinkThatWaitsDoesNotKeepATemplateFromItsFile(t *testing.T) {
	ready := make(chan struct{})
	j, _, dest := job(t, template.Spec{Exec: &template.Exec{Command: []string{"x", "y"}}})
	// The sink waits for the template's command, so in sequence nobody would
	// ever come to an end.
	set, err := template.New([]template.Spec{{
		Contents: `{{ with secret "secret/app" }}{{ .Data.data.v }}{{ end }}`, Destination: dest,
		ErrorFatal: true, Exec: &template.Exec{Command: []string{"x", "y"}},
	}}, template.Options{Runner: runner(func() { close(ready) })})
	if err != nil {
		t.Fatal(err)
	}
	j.Templates = set
	j.Sinks = []sink.Sink{&keeper{name: "late", before: ready}}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := Run(ctx, j); err != nil {
		t.Error(err)
	}
}

type runner func()

func (r runner) Run(context.Context, template.Command) error { r(); return nil }

func TestBothCausesAreTold(t *testing.T) {
	j, _, _ := job(t, template.Spec{Contents: `{{ with secret "secret/none" }}{{ .Data }}{{ end }}`})
	j.Sinks = []sink.Sink{&keeper{name: "bad", err: errors.New("disk full")}}
	_, err := Run(t.Context(), j)
	if !errors.Is(err, sink.ErrWrite) || !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("error is %v", err)
	}
}

func TestRevocation(t *testing.T) {
	for _, c := range []struct {
		name    string
		revoke  Revoke
		sinks   bool
		lease   bool
		revoked bool
		refused bool
	}{
		{"kept", Keep, false, false, false, false},
		{"only files", RevokeSafe, false, false, true, false},
		{"a token that was there before", RevokeSafe, false, false, false, true},
		{"forced with a token that was there before", RevokeForce, false, false, true, false},
		{"a batch token, which no server revokes", RevokeForce, false, false, false, true},
		{"a sink holds the token", RevokeSafe, true, false, false, true},
		{"a lease was handed over", RevokeSafe, false, true, false, true},
		{"a child token was handed over", RevokeSafe, false, false, false, true},
		{"an orphan was handed over", RevokeSafe, false, false, true, false},
		{"a token that the login wrapped", RevokeForce, false, false, false, true},
		{"forced with a sink", RevokeForce, true, false, true, false},
		{"forced with a lease", RevokeForce, false, true, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, s, _ := job(t, template.Spec{})
			j.Revoke = c.revoke
			tok, err := j.Session.Login(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			tok.Borrowed = strings.Contains(c.name, "before")
			if strings.Contains(c.name, "batch") {
				tok.Type = "batch"
			}
			if strings.Contains(c.name, "wrapped") {
				tok.Value, tok.Wrap, j.Templates = cred.Redacted{}, &cred.WrapInfo{Token: cred.Redact("w")}, nil
			}
			j.Session = session.New(method{token: tok}, j.Client, session.Options{Log: quiet})
			for word, orphan := range map[string]bool{"child": false, "orphan": true} {
				if strings.Contains(c.name, word) {
					s.Rude(vaulttest.Match{Path: "secret/data/app"}, vaulttest.Rudeness{
						Raw: fmt.Sprintf(`{"auth":{"client_token":"t","accessor":"a","orphan":%t},"data":{"data":{"v":"one"}}}`, orphan),
					})
				}
			}
			if c.sinks {
				j.Sinks = []sink.Sink{&keeper{name: "a"}}
			}
			if c.lease {
				s.Rude(vaulttest.Match{Path: "secret/data/app"}, vaulttest.Rudeness{
					Raw: `{"lease_id":"database/creds/x/1","lease_duration":60,"renewable":true,"data":{"data":{"v":"one"}}}`,
				})
			}
			_, err = Run(t.Context(), j)
			if errors.Is(err, ErrRevokeRefused) != c.refused || (err != nil) != c.refused {
				t.Errorf("error is %v", err)
			}
			if got := s.Count("PUT", "auth/token/revoke-self") == 1; got != c.revoked {
				t.Errorf("revoked: %v", got)
			}
		})
	}
}

func TestRevokedEvenWhenTheRunWasCalledOff(t *testing.T) {
	j, s, _ := job(t, template.Spec{})
	j.Revoke = RevokeForce
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Rude(vaulttest.Match{Path: "secret/data/app"}, vaulttest.Rudeness{Hang: true})
	j.Reads.Retry = retry.Schedule{Attempts: 3, Base: time.Hour}
	j.Sinks = []sink.Sink{cancels{cancel}}
	if _, err := Run(ctx, j); err == nil {
		t.Error("a run that was called off succeeded")
	}
	if s.Count("PUT", "auth/token/revoke-self") != 1 {
		t.Error("the token was not revoked")
	}
}

type cancels struct{ cancel func() }

func (c cancels) Name() string                            { return "cancels" }
func (c cancels) Write(context.Context, cred.Token) error { c.cancel(); return nil }

func TestReportHoldsNoSecret(t *testing.T) {
	j, _, _ := job(t, template.Spec{})
	rep, err := Run(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	slog.New(slog.NewTextHandler(&out, nil)).Info("done", "report", rep)
	if strings.Contains(out.String(), "hvs.") || !strings.Contains(out.String(), "report.templates=1") {
		t.Errorf("log: %s", out.String())
	}
}
