package secretfile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"latchkey/internal/atomicfile"
	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// tend makes one file right, or notes why not.
func (f *Files) tend(ctx context.Context, x *file) {
	a := x.pending
	if now := cred.Wall(time.Now()); a == nil || !a.term.end.IsZero() && !now.Before(a.term.end) {
		var err error
		if a, err = f.read(ctx, x); err != nil {
			f.fail(ctx, x, x.mishap("read", err))
			return
		}
	}
	first := !x.written
	if first || a.sum != x.sum {
		// What could not be written stays pending: a full disk is no reason to ask
		// the server, and maybe get another lease, again.
		if err := x.write(a); err != nil {
			f.mu.Lock()
			x.pending = a
			f.mu.Unlock()
			f.fail(ctx, x, fmt.Errorf("%s: %s: %w", x.From, x.Path, err))
			return
		}
		level, text := slog.LevelDebug, "secret written"
		if !first {
			level, text = slog.LevelInfo, "secret changed, and its file with it"
		}
		f.o.Log.Log(ctx, level, text, "path", x.Path, "file", x.File, "variable", x.From)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	x.holds(a)
	x.bound(f.token)
}

// fail notes a failure, and tells once of one that the caller is not told of, because
// the file that is there is still good.
func (f *Files) fail(ctx context.Context, x *file, err error) {
	now := cred.Wall(time.Now())
	f.mu.Lock()
	x.failed(err, now)
	tell := x.good(now) && !x.told
	x.told = x.told || tell
	f.mu.Unlock()
	if tell {
		f.o.Log.WarnContext(ctx, "the secret cannot be refreshed, its file stays as it is", "file", x.File, "error", err)
	}
}

// read asks for a secret: as often as the schedule says when it is needed, once when
// it would only be newer.
func (f *Files) read(ctx context.Context, x *file) (*answer, error) {
	schedule := f.o.Retry
	if x.good(cred.Wall(time.Now())) {
		schedule = retry.Schedule{Attempts: 1}
	}
	var s *cred.Secret
	var token cred.Redacted
	err := retry.Do(ctx, schedule, "read "+x.Path, f.o.Observer, func(ctx context.Context) (err error) {
		s, token, err = f.once(ctx, x.Path)
		if err != nil && !vault.Temporary(err) {
			return retry.Permanent(err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if !x.written {
		for _, w := range s.Warnings {
			f.o.Log.WarnContext(ctx, "server warns", "path", x.Path, "warning", w)
		}
	}
	a := &answer{term: termOf(s, f.o.Refresh, retry.Luck()), token: token}
	if a.text, err = encode(s); err != nil {
		return nil, err
	}
	a.sum = sumOf(a.text)
	return a, nil
}

// once reads once; with another token, when the server does not know the first.
func (f *Files) once(ctx context.Context, path string) (*cred.Secret, cred.Redacted, error) {
	token, err := f.o.Identity.Token(ctx)
	if err != nil {
		return nil, token, err
	}
	s, err := f.o.Client.As(token).Read(ctx, path, nil)
	if errors.Is(err, vault.ErrInvalidToken) {
		if token, err = f.o.Identity.Replace(ctx, token); err != nil {
			return nil, token, err
		}
		s, err = f.o.Client.As(token).Read(ctx, path, nil)
	}
	if err == nil && s.Data == nil && s.Auth == nil && s.Wrap == nil {
		err = &vault.Error{Kind: vault.ErrNotFound, Op: "read", Path: path, Cause: errors.New("the answer is empty")}
	}
	return s, token, err
}

// mishap says what was attempted and for which variable, and what may be the matter.
func (x *file) mishap(op string, err error) error {
	var e *vault.Error
	if !errors.As(err, &e) || e.Path != x.Path {
		return fmt.Errorf("%s: %s %s: %w", x.From, op, x.Path, err)
	}
	hint := ""
	versioned := strings.Contains(x.Path, "/data/")
	missing := e.Kind == vault.ErrNotFound || errors.Is(err, vault.ErrDenied)
	switch {
	case missing && strings.HasPrefix(x.Path, "v1/"):
		hint = " (leave v1/ out: it stands before every path anyhow)"
	case missing && strings.Contains(x.Path, "?"):
		hint = " (a path has no query here; a version of a secret is to be had by the proxy, or as a variable: vault:PATH#KEY#VERSION)"
	case e.Kind == vault.ErrNotFound && len(e.Messages) == 0 && versioned:
		hint = " (nothing is there, or its newest version is deleted)"
	case e.Kind == vault.ErrNotFound && len(e.Messages) == 0:
		hint = " (nothing is there)"
	case errors.Is(err, vault.ErrDenied) && !versioned:
		hint = " (the role's policy does not allow it; in version 2 of the key-value engine the path has data/ behind the mount)"
	case errors.Is(err, vault.ErrDenied):
		hint = " (the role's policy does not allow it)"
	}
	return fmt.Errorf("%s: %w%s", x.From, err, hint)
}

// write puts an answer in place.
func (x *file) write(a *answer) error {
	_, err := atomicfile.Write(x.File, a.text, atomicfile.Options{
		Mode: x.Mode, UID: -1, GID: -1, MakeDirs: true, DirMode: x.DirMode, Volatile: true,
	})
	return err
}
