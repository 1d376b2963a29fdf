package secretfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

func TestFilesAreThereOnceTendReturns(t *testing.T) {
	in(t, func(p *place) {
		p.kv("kv/data/a", "one")
		p.leased("db/creds/b", 3600)
		p.delay = time.Second
		p.files(Options{Retry: patient},
			Spec{Path: "kv/data/a", File: p.path("deep/er/a.json"), From: "VAULT_SECRET_PATH_A"},
			Spec{Path: "db/creds/b", File: p.path("b.json"), Mode: 0o640, From: "VAULT_SECRET_PATH_B"})
		if due := p.f.Due(); due.IsZero() || due.After(time.Now()) {
			t.Errorf("due %v before anything was read", due)
		}
		start := time.Now()
		p.tend(0)
		if took := time.Since(start); took != time.Second || p.most != 2 {
			t.Errorf("took %v, %d at once: they are to be read side by side", took, p.most)
		}
		p.holds("deep/er/a.json", `"v": "one"`)
		p.holds("b.json", `"lease_id": "db/creds/b/1"`)
		for name, want := range map[string]fs.FileMode{"deep": 0o700, "deep/er": 0o700, "deep/er/a.json": 0o600, "b.json": 0o640} {
			if fi, err := os.Stat(p.path(name)); err != nil || fi.Mode().Perm() != want {
				t.Errorf("%s: %v, %v, want %v", name, fi.Mode(), err, want)
			}
		}
		if p.log.String() != "" {
			t.Errorf("what went well is not silent:\n%s", p.log.String())
		}
	})
}

func TestWithoutRefreshAStaticSecretIsReadOnce(t *testing.T) {
	in(t, func(p *place) {
		p.kv("kv/data/a", "one")
		p.files(Options{Retry: patient}, Spec{Path: "kv/data/a", File: p.path("a")})
		p.tend(0)
		if !p.f.Due().IsZero() {
			t.Errorf("due at %v", p.f.Due())
		}
		time.Sleep(1000 * time.Hour)
		p.tend(time.Hour)
		if p.count("kv/data/a") != 1 {
			t.Errorf("read %d times", p.count("kv/data/a"))
		}
	})
}

func TestAStaticSecretThatDidNotChangeIsNotWrittenAgain(t *testing.T) {
	in(t, func(p *place) {
		p.kv("kv/data/a", "one")
		p.files(Options{Retry: patient, Refresh: 5 * time.Minute}, Spec{Path: "kv/data/a", File: p.path("a")})
		p.tend(0)
		before, _ := os.Stat(p.path("a"))
		p.holds("a", `"request_id": "r1"`)
		p.tend(15 * time.Minute) // a long function is no reason to read a static secret early
		if p.count("kv/data/a") != 1 {
			t.Errorf("read %d times within the interval", p.count("kv/data/a"))
		}
		for i := range 3 {
			time.Sleep(6 * time.Minute)
			p.tend(time.Second)
			if p.count("kv/data/a") != i+2 {
				t.Errorf("read %d times after %d intervals", p.count("kv/data/a"), i+1)
			}
		}
		after, _ := os.Stat(p.path("a"))
		if !os.SameFile(before, after) {
			t.Error("the file was replaced though nothing changed")
		}
		p.kv("kv/data/a", "two")
		time.Sleep(6 * time.Minute)
		p.tend(time.Second)
		p.holds("a", `"v": "two"`)
		if !strings.Contains(p.log.String(), "level=INFO msg=\"secret changed") || strings.Contains(p.log.String(), "two") {
			t.Errorf("the log is\n%s", p.log.String())
		}
	})
}

func TestALeasedSecretIsReadAnewBeforeItEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		sleep time.Duration
		ahead time.Duration
		reads int
	}{
		{"early in its life", 10 * time.Minute, 3 * time.Second, 1},
		{"early, before a function that outlives it", 10 * time.Minute, 2 * time.Hour, 1},
		{"past the middle, before a short function", 35 * time.Minute, 3 * time.Second, 1},
		{"past the middle, before a function that outlives it", 50 * time.Minute, 15 * time.Minute, 2},
		{"near its end", 55 * time.Minute, 3 * time.Second, 2},
		{"frozen far beyond its end", 100 * time.Hour, 3 * time.Second, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			in(t, func(p *place) {
				p.leased("db/creds/b", 3600)
				p.files(Options{Retry: patient}, Spec{Path: "db/creds/b", File: p.path("b")})
				p.tend(0)
				time.Sleep(c.sleep)
				p.tend(c.ahead)
				if got := p.count("db/creds/b"); got != c.reads {
					t.Errorf("read %d times, want %d", got, c.reads)
				}
				p.holds("b", `"username": "u`+string(rune('0'+c.reads)))
			})
		})
	}
}

// A lease of seconds and a function of minutes must not make a lease for each
// invocation.
func TestAShortLeaseDoesNotStormTheServer(t *testing.T) {
	in(t, func(p *place) {
		p.leased("db/creds/b", 60)
		p.files(Options{Retry: patient}, Spec{Path: "db/creds/b", File: p.path("b")})
		p.tend(0)
		for range 600 { // ten minutes, one invocation per second
			time.Sleep(time.Second)
			p.tend(15 * time.Minute)
		}
		if got := p.count("db/creds/b"); got > 21 {
			t.Errorf("read %d times in ten minutes", got)
		}
	})
}

func TestACredentialThatTheServerRotatesIsReadAfterwards(t *testing.T) {
	in(t, func(p *place) {
		p.set("db/static-creds/s", `{"request_id":"r","lease_id":"","lease_duration":0,"data":{"password":"p","rotation_period":3600,"ttl":100},"warnings":null}`)
		p.files(Options{Retry: patient}, Spec{Path: "db/static-creds/s", File: p.path("s")})
		start := time.Now()
		p.tend(0)
		if in := p.f.Due().Sub(start); in != 101*time.Second {
			t.Errorf("due in %v", in)
		}
		time.Sleep(102 * time.Second)
		p.tend(0)
		if p.count("db/static-creds/s") != 2 {
			t.Error("it was not read again")
		}
	})
}

func TestWhatIsMissingIsNamedAllAtOnce(t *testing.T) {
	in(t, func(p *place) {
		p.kv("kv/data/there", "one")
		p.set("kv/data/gone", `404{"data":{"data":null,"metadata":{"deletion_time":"2026-01-01T00:00:00Z","version":1}}}`)
		p.set("kv/plain", `404{"errors":[],"warnings":["Invalid path for a versioned K/V secrets engine."]}`)
		p.set("kv/secret", `403{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`)
		p.set("empty", ``)
		p.files(Options{Retry: patient},
			Spec{Path: "kv/data/there", File: p.path("there"), From: "VAULT_SECRET_PATH_THERE"},
			Spec{Path: "kv/data/gone", File: p.path("gone"), From: "VAULT_SECRET_PATH_GONE"},
			Spec{Path: "kv/data/never", File: p.path("never"), From: "VAULT_SECRET_PATH_NEVER"},
			Spec{Path: "kv/plain", File: p.path("plain"), From: "VAULT_SECRET_PATH_PLAIN"},
			Spec{Path: "kv/secret", File: p.path("secret"), From: "VAULT_SECRET_PATH_SECRET"},
			Spec{Path: "v1/kv/data/there", File: p.path("v1"), From: "VAULT_SECRET_PATH_V1"},
			Spec{Path: "kv/data/there?version=1", File: p.path("query"), From: "VAULT_SECRET_PATH_QUERY"},
			Spec{Path: "empty", File: p.path("empty"), From: "VAULT_SECRET_PATH_EMPTY"})
		err := p.f.Tend(p.Context(), time.Now())
		want := `VAULT_SECRET_PATH_GONE: read kv/data/gone: 404 not found (nothing is there, or its newest version is deleted)
VAULT_SECRET_PATH_NEVER: read kv/data/never: 404 not found (nothing is there, or its newest version is deleted)
VAULT_SECRET_PATH_PLAIN: read kv/plain: 404 Invalid path for a versioned K/V secrets engine.
VAULT_SECRET_PATH_SECRET: read kv/secret: 403 permission denied (the role's policy does not allow it; in version 2 of the key-value engine the path has data/ behind the mount)
VAULT_SECRET_PATH_V1: read v1/kv/data/there: 404 not found (leave v1/ out: it stands before every path anyhow)
VAULT_SECRET_PATH_QUERY: read kv/data/there?version=1: 404 not found (a path has no query here; a version of a secret is to be had by the proxy, or as a variable: vault:PATH#KEY#VERSION)
VAULT_SECRET_PATH_EMPTY: read empty: the answer is empty (nothing is there)`
		if err == nil || err.Error() != want {
			t.Errorf("got\n%v\nwant\n%s", err, want)
		}
		if !errors.Is(err, vault.ErrNotFound) || !errors.Is(err, vault.ErrDenied) {
			t.Error("the kinds are lost")
		}
		p.holds("there", `"v": "one"`)
		for _, name := range []string{"gone", "never", "plain", "secret", "empty"} {
			if _, err := os.Stat(p.path(name)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
			if strings.HasPrefix(name, "kv") && p.count(name) != 1 {
				t.Errorf("%s was asked for %d times", name, p.count(name))
			}
		}
	})
}

func TestAStartIsPatientAsTheScheduleSays(t *testing.T) {
	in(t, func(p *place) {
		n := 0
		p.answers["kv/data/a"] = func() string {
			if n++; n < 3 {
				return `503{"errors":["Vault is sealed"]}`
			}
			return `{"data":{"data":{"v":"late"}}}`
		}
		p.files(Options{Retry: patient}, Spec{Path: "kv/data/a", File: p.path("a"), From: "X"})
		p.tend(0)
		p.holds("a", "late")
	})
}

func TestAStartEndsWithItsBudget(t *testing.T) {
	in(t, func(p *place) {
		p.set("kv/data/a", `503{"errors":["Vault is sealed"]}`)
		p.files(Options{Retry: retryForEver}, Spec{Path: "kv/data/a", File: p.path("a"), From: "X"})
		ctx, cancel := context.WithTimeout(p.Context(), 8*time.Second)
		defer cancel()
		start := time.Now()
		err := p.f.Tend(ctx, start)
		if took := time.Since(start); err == nil || took > 8*time.Second || !errors.Is(err, vault.ErrSealed) {
			t.Errorf("%v after %v", err, took)
		}
	})
}

var retryForEver = retry.Schedule{Attempts: -1, Base: 100 * time.Millisecond, Max: time.Second}

// A function that lives without its secrets (LATCHKEY_FAIL=open) asks again in its
// invocations, and not in each of them.
func TestWhatFailedIsTriedAgainButNotAtOnce(t *testing.T) {
	in(t, func(p *place) {
		p.set("kv/data/a", `503{"errors":["Vault is sealed"]}`)
		p.files(Options{}, Spec{Path: "kv/data/a", File: p.path("a"), From: "X"})
		for range 1000 {
			if err := p.f.Tend(p.Context(), time.Now()); !errors.Is(err, vault.ErrSealed) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got := p.count("kv/data/a"); got < 3 || got > 6 {
			t.Errorf("asked %d times in ten seconds", got)
		}
		p.kv("kv/data/a", "there")
		time.Sleep(time.Minute)
		p.tend(0)
		p.holds("a", "there")
	})
}

func TestAFileStaysWhileItsSecretCannotBeRefreshed(t *testing.T) {
	for name, answer := range map[string]string{
		"sealed": `503{"errors":["Vault is sealed"]}`, "deleted": `404{"errors":[]}`, "forbidden": `403{"errors":["permission denied"]}`, "nonsense": `{`,
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(p *place) {
				p.kv("kv/data/a", "one")
				p.files(Options{Retry: patient, Refresh: time.Minute}, Spec{Path: "kv/data/a", File: p.path("a"), From: "VAULT_SECRET_PATH_A"})
				p.tend(0)
				p.set("kv/data/a", answer)
				for range 10 {
					time.Sleep(2 * time.Minute)
					start := time.Now()
					p.tend(time.Second)
					if took := time.Since(start); took > 0 {
						t.Errorf("an invocation was held up for %v", took)
					}
				}
				p.holds("a", `"v": "one"`)
				if got := p.count("kv/data/a"); got != 11 {
					t.Errorf("asked %d times", got)
				}
				if log := p.log.String(); strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, "VAULT_SECRET_PATH_A: read kv/data/a") {
					t.Errorf("the log is\n%s", log)
				}
				p.kv("kv/data/a", "two")
				time.Sleep(2 * time.Minute)
				p.tend(time.Second)
				p.holds("a", `"v": "two"`)
			})
		})
	}
}

func TestAnEndedLeaseThatCannotBeReplacedIsAnError(t *testing.T) {
	in(t, func(p *place) {
		p.leased("db/creds/b", 3600)
		p.files(Options{Retry: patient}, Spec{Path: "db/creds/b", File: p.path("b"), From: "VAULT_SECRET_PATH_B"})
		p.tend(0)
		p.set("db/creds/b", `503{"errors":["Vault is sealed"]}`)
		time.Sleep(58 * time.Minute)
		p.tend(time.Second) // still good
		time.Sleep(5 * time.Minute)
		if err := p.f.Tend(p.Context(), time.Now()); err == nil || !strings.Contains(err.Error(), "VAULT_SECRET_PATH_B: ") {
			t.Errorf("got %v", err)
		}
		p.leased("db/creds/b", 3600)
		time.Sleep(time.Minute)
		p.tend(0)
	})
}

func TestAnInvalidTokenIsReplacedOnce(t *testing.T) {
	in(t, func(p *place) {
		p.kv("kv/data/a", "one")
		p.good = "t2"
		p.files(Options{Retry: patient}, Spec{Path: "kv/data/a", File: p.path("a")})
		p.tend(0)
		if got := strings.Join(p.tokens, " "); got != "t1 t2" {
			t.Errorf("asked with %s", got)
		}
		p.good = "no such"
		p.files(Options{Retry: patient}, Spec{Path: "kv/data/a", File: p.path("a"), From: "X"})
		p.tokens = nil
		if err := p.f.Tend(p.Context(), time.Now()); !errors.Is(err, vault.ErrInvalidToken) || len(p.tokens) != 2 {
			t.Errorf("%v, asked with %v", err, p.tokens)
		}
	})
}

func TestALeaseEndsWithTheTokenThatMadeIt(t *testing.T) {
	in(t, func(p *place) {
		p.leased("db/creds/b", 36000)
		p.kv("kv/data/a", "one")
		p.files(Options{Retry: patient}, Spec{Path: "db/creds/b", File: p.path("b")}, Spec{Path: "kv/data/a", File: p.path("a")})
		p.f.Use(cred.Token{Value: cred.Redact("t1")})
		p.tend(0)
		if due := p.f.Due(); !due.After(time.Now()) {
			t.Errorf("due at %v with the same token", due)
		}
		p.id.n, p.good = 2, "t2"
		p.f.Use(cred.Token{Value: cred.Redact("t2")})
		if due := p.f.Due(); due.After(time.Now()) {
			t.Errorf("due at %v with another token", due)
		}
		p.tend(0)
		p.tend(0)
		if p.count("db/creds/b") != 2 || p.count("kv/data/a") != 1 {
			t.Errorf("read %d and %d times", p.count("db/creds/b"), p.count("kv/data/a"))
		}
	})
}

func TestNoTokenIsAnErrorThatNamesTheVariable(t *testing.T) {
	in(t, func(p *place) {
		p.files(Options{Retry: patient}, Spec{Path: "kv/data/a", File: p.path("a"), From: "VAULT_SECRET_PATH_A"})
		p.id.fails = errors.New("no login")
		if err := p.f.Tend(p.Context(), time.Now()); err == nil || err.Error() != "VAULT_SECRET_PATH_A: read kv/data/a: no login" {
			t.Errorf("got %v", err)
		}
		if p.count("kv/data/a") != 0 {
			t.Error("it was asked for without a token")
		}
	})
}

// A full disk, or here a directory in the place of the file, is no reason to ask for
// another lease.
func TestALocalFaultDoesNotReadAgain(t *testing.T) {
	in(t, func(p *place) {
		p.leased("db/creds/b", 3600)
		p.files(Options{Retry: patient}, Spec{Path: "db/creds/b", File: p.path("b"), From: "VAULT_SECRET_PATH_B"})
		if err := os.Mkdir(p.path("b"), 0o700); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			err := p.f.Tend(p.Context(), time.Now())
			if err == nil || !strings.HasPrefix(err.Error(), "VAULT_SECRET_PATH_B: db/creds/b: write "+p.path("b")) {
				t.Fatalf("got %v", err)
			}
			time.Sleep(2 * time.Minute)
		}
		if err := os.Remove(p.path("b")); err != nil {
			t.Fatal(err)
		}
		p.tend(0)
		p.holds("b", "db/creds/b/1")
		if p.count("db/creds/b") != 1 {
			t.Errorf("read %d times", p.count("db/creds/b"))
		}
	})
}

func TestTwoWhoTendReadOnce(t *testing.T) {
	in(t, func(p *place) {
		p.kv("kv/data/a", "one")
		p.delay = time.Second
		p.files(Options{Retry: patient}, Spec{Path: "kv/data/a", File: p.path("a")})
		errs := make(chan error, 3)
		for range 2 {
			go func() { errs <- p.f.Tend(p.Context(), time.Now()) }()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(p.Context(), time.Millisecond)
		defer cancel()
		if err := p.f.Tend(ctx, time.Now()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who cannot wait gets %v", err)
		}
		for range 2 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if p.count("kv/data/a") != 1 {
			t.Errorf("read %d times", p.count("kv/data/a"))
		}
	})
}

func TestAClockThatIsSetBackHasEverythingReadAnew(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	x := &file{written: true, term: term{from: now.Add(time.Hour), end: now.Add(2 * time.Hour), due: now.Add(110 * time.Minute)}}
	if !x.dueBy(now, now) {
		t.Error("an answer from the future is not due")
	}
	x.term.from = now.Add(time.Second)
	if x.dueBy(now, now) {
		t.Error("a second is no time to have been set back by")
	}
	x.written, x.notBefore = false, now.Add(time.Hour)
	if !x.dueBy(now, now) {
		t.Error("a pause of an hour is kept")
	}
}

func TestSpecsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, c := range []struct {
		specs []Spec
		want  string
	}{
		{[]Spec{{File: "/f", From: "V"}}, "V: names no secret"},
		{[]Spec{{Path: "p"}}, "p: names no file"},
		{[]Spec{{Path: "p", File: "/d/f", From: "A"}, {Path: "q", File: "/d/./f", From: "B"}}, "B: its file is that of A too: " + filepath.Clean("/d/f")},
	} {
		if _, err := New(c.specs, Options{}); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	f, err := New(nil, Options{})
	if err != nil || !f.Due().IsZero() || f.Tend(t.Context(), time.Now()) != nil || f.Name() != "files" {
		t.Errorf("nothing to do is %v, due %v", err, f.Due())
	}
}
