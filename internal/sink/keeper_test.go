//go:build unix

package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/meter"
	"latchkey/internal/retry"
)

// counts is a Meter that remembers.
type counts struct {
	meter.Meter
	mu sync.Mutex
	n  map[string]int
}

func newCounts() *counts { return &counts{Meter: meter.Discard, n: map[string]int{}} }

func (c *counts) Count(name string, n int, labels ...meter.Label) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[fmt.Sprint(name, labels)] += n
}

func (c *counts) of(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[name]
}

// minding is a Keeper at work.
type minding struct {
	*Keeper
	meter *counts
	log   *bytes.Buffer
	end   context.CancelCauseFunc
	ended chan error
}

var errTestOver = errors.New("the test is over")

// mind runs a Keeper in a bubble until stop.
func mind(t *testing.T, o KeepOptions, sinks ...Sink) *minding {
	t.Helper()
	m := &minding{meter: newCounts(), log: &bytes.Buffer{}, ended: make(chan error, 1)}
	o.Meter, o.Log = m.meter, slog.New(slog.NewTextHandler(m.log, nil))
	m.Keeper = NewKeeper(sinks, o)
	ctx, end := context.WithCancelCause(context.Background())
	m.end = end
	go func() { m.ended <- m.Run(ctx) }()
	t.Cleanup(func() { end(errTestOver) })
	synctest.Wait()
	return m
}

// stop ends the Keeper, which has to take no time, and looks whether a secret
// was told anywhere.
func (m *minding) stop(t *testing.T) {
	t.Helper()
	start := time.Now()
	m.end(errTestOver)
	if err := <-m.ended; !errors.Is(err, errTestOver) {
		t.Errorf("Run returned %v", err)
	}
	if took := time.Since(start); took > 0 {
		t.Errorf("took %s to end", took)
	}
	told := fmt.Sprintf("%+v %s", m.Status(), m.log)
	for _, s := range m.Status() {
		told += fmt.Sprint(s.Err, s.NoticeErr)
	}
	if strings.Contains(told, "canary") {
		t.Errorf("a secret is told: %s", told)
	}
}

func numbered(n int) cred.Token {
	return cred.Token{Value: cred.Redact(fmt.Sprintf("hvs.canary-%d", n))}
}

// pass lets time go by.
func pass(d time.Duration) {
	retry.Sleep(context.Background(), d)
	synctest.Wait()
}

func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestKeeperWritesEachNewTokenAtOnceAndNoOtherDelaysIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "token")
		hangs := &fake{name: "hangs", write: func(ctx context.Context, _ int) error { <-ctx.Done(); return context.Cause(ctx) }}
		fails := &fake{name: "fails", write: func(context.Context, int) error { return errors.New("no") }}
		m := mind(t, KeepOptions{}, hangs, fails, build(t, stanza(path), Options{}))
		for n := range 3 {
			m.Deliver(numbered(n))
			synctest.Wait()
			if got := content(t, path); got != fmt.Sprintf("hvs.canary-%d", n) {
				t.Errorf("token %d: the file holds %q", n, got)
			}
			pass(10 * time.Second)
		}
		if got := m.meter.of("sink.success[{sink file}]"); got != 3 {
			t.Errorf("%d successes", got)
		}
		m.stop(t)
	})
}

func TestKeeperMayHaveItsTokenBeforeItRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := &fake{name: "a", write: fine}
		k := NewKeeper([]Sink{s}, KeepOptions{})
		k.Deliver(numbered(1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := k.Run(ctx); !errors.Is(err, context.DeadlineExceeded) || s.n != 1 {
			t.Errorf("got %v after %d writes", err, s.n)
		}
	})
}

func TestKeeperWithoutSinksWaitsForItsEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := mind(t, KeepOptions{})
		m.Deliver(numbered(1))
		pass(time.Minute)
		m.stop(t)
	})
}

func TestAFileThatOthersChangedIsPutBackWithinSeconds(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"removed": os.Remove,
		"emptied": func(p string) error { return os.Truncate(p, 0) },
		"other content of the same length, with the old time": func(p string) error {
			fi, err := os.Stat(p)
			if err != nil {
				return err
			}
			if err := os.WriteFile(p, []byte("hvs.canary-X"), 0); err != nil {
				return err
			}
			return os.Chtimes(p, fi.ModTime(), fi.ModTime())
		},
		"a wider mode": func(p string) error { return os.Chmod(p, 0o666) },
		"unreadable":   func(p string) error { return os.Chmod(p, 0) },
		"replaced by a link to nothing": func(p string) error {
			_ = os.Remove(p + ".gone")
			return errors.Join(os.Remove(p), os.Symlink(p+".gone", p))
		},
		"given away": func(p string) error {
			if os.Getuid() != 0 {
				return os.Remove(p)
			}
			return os.Chown(p, 1234, 1235)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "token")
				m := mind(t, KeepOptions{}, build(t, stanza(path, "mode", "0600"), Options{}))
				m.Deliver(numbered(1))
				pass(time.Minute)
				for range 3 {
					if err := change(path); err != nil {
						t.Fatal(err)
					}
					pass(2 * time.Second)
					fi, err := os.Stat(path)
					if err != nil || fi.Mode() != 0o600 || content(t, path) != "hvs.canary-1" {
						t.Fatalf("not put back: %v, %v", fi, err)
					}
					if uid, gid := ownerOf(t, path); uid != os.Getuid() || gid != os.Getgid() {
						t.Errorf("belongs to %d:%d", uid, gid)
					}
				}
				if got := m.meter.of("sink.success[{sink file}]"); got != 4 {
					t.Errorf("written %d times", got)
				}
				m.stop(t)
			})
		})
	}
}

func TestAFileThatNobodyTouchedIsNotWrittenAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "token")
		m := mind(t, KeepOptions{}, build(t, stanza(path), Options{}))
		m.Deliver(numbered(1))
		synctest.Wait()
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		m.Deliver(numbered(1)) // a renewed login may bring the same one
		pass(time.Hour)
		if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) || m.meter.of("sink.success[{sink file}]") != 1 {
			t.Errorf("written again: %v", err)
		}
		m.stop(t)

		// Nor is it after a restart that kept the token.
		m = mind(t, KeepOptions{}, build(t, stanza(path), Options{}))
		m.Deliver(numbered(1))
		synctest.Wait()
		if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("written again: %v", err)
		}
		m.stop(t)
	})
}

func TestTheContentIsReadOnlyWhenSomethingMoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	f := &file{cfg: fileConfig{Path: path, Mode: 0o600}}
	if !f.Intact() {
		t.Error("a file that was never written has changed")
	}
	if changed, err := f.Put(t.Context(), []byte("x")); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if !f.Intact() || f.left.seen != (signature{}) {
		t.Error("a file that may have changed twice in one moment is not looked at again")
	}
	later := time.Now().Add(time.Minute)
	if !f.left.matches(path, later) || f.left.seen == (signature{}) {
		t.Error("not looked at")
	}
	f.left.content[0]++ // a look at the content would now find it wrong
	if !f.left.matches(path, later) {
		t.Error("read although nothing moved")
	}
	if err := os.Chtimes(path, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if f.left.matches(path, later) {
		t.Error("not read although something moved")
	}
	f.left.content[0]--
	if !f.left.matches(path, later) {
		t.Error("the same content is not enough")
	}
	if changed, err := f.Put(t.Context(), []byte("x")); changed || err != nil {
		t.Errorf("the same again: %v, %v", changed, err)
	}
}

func TestASinkWithoutItsFolderIsTriedForEverAndSlowly(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "later")
		path := filepath.Join(dir, "token")
		var notices []retry.Notice
		m := mind(t, KeepOptions{Observer: func(n retry.Notice) { notices = append(notices, n) }}, build(t, stanza(path), Options{}))
		m.Deliver(numbered(1))
		pass(time.Hour)
		if n := len(notices); n < 60 || n > 135 {
			t.Errorf("tried %d times in an hour", n)
		}
		last := notices[len(notices)-1]
		if last.Next < 30*time.Second || last.Next > time.Minute || last.What != "write sink file "+path || !errors.Is(last.Err, fs.ErrNotExist) {
			t.Errorf("the last notice is %+v", last)
		}
		s := m.Status()[0]
		if !errors.Is(s.Err, fs.ErrNotExist) || !s.WrittenAt.IsZero() || !s.NextAt.After(time.Now()) || s.Name != "file "+path {
			t.Errorf("status %+v", s)
		}
		if got := m.meter.of("sink.failure[{sink file}]"); got != len(notices) {
			t.Errorf("%d failures counted, %d told", got, len(notices))
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if got := content(t, path); got != "hvs.canary-1" {
			t.Errorf("the file holds %q", got)
		}
		if s := m.Status()[0]; s.Err != nil || s.WrittenAt.IsZero() || !s.NextAt.IsZero() {
			t.Errorf("status %+v", s)
		}
		m.stop(t)
	})
}

func TestTheNewestTokenWinsInTheMiddleOfARetry(t *testing.T) {
	for name, first := range map[string]func(context.Context) error{
		"that waits": func(context.Context) error { return retry.Permanent(fs.ErrPermission) },
		"that hangs": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var got []string
				s := writer(func(ctx context.Context, tok cred.Token) error {
					if tok.Value.Equal(numbered(1).Value) {
						return first(ctx)
					}
					got = append(got, tok.Value.Reveal())
					return nil
				})
				m := mind(t, KeepOptions{}, s)
				m.Deliver(numbered(1))
				pass(10*time.Minute + 7*time.Second)
				start := time.Now()
				for n := range 3 {
					m.Deliver(numbered(2 + n))
				}
				synctest.Wait()
				if len(got) == 0 || got[len(got)-1] != "hvs.canary-4" || time.Since(start) > 0 {
					t.Errorf("after %s the sink has %q", time.Since(start), got)
				}
				if st := m.Status()[0]; st.Err != nil || !st.WrittenAt.Equal(start) {
					t.Errorf("status %+v", st)
				}
				pass(time.Hour)
				if len(got) > 3 || got[len(got)-1] != "hvs.canary-4" {
					t.Errorf("an older token came back: %q", got)
				}
				m.stop(t)
			})
		})
	}
}

// writer is a sink that is a function.
type writer func(context.Context, cred.Token) error

func (writer) Name() string                                      { return "writer" }
func (w writer) Write(ctx context.Context, tok cred.Token) error { return w(ctx, tok) }

type polite struct{ error }

func (polite) RetryAfter() time.Duration { return 10 * time.Minute }

func TestAServerThatAsksForTimeGetsIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := &fake{name: "a", write: func(_ context.Context, n int) error {
			if n == 1 {
				return polite{errors.New("slow down")}
			}
			return nil
		}}
		m := mind(t, KeepOptions{}, s)
		start := time.Now()
		m.Deliver(numbered(1))
		pass(time.Hour)
		if after := s.done.Sub(start); s.n != 2 || after < 10*time.Minute || after > 10*time.Minute+2*time.Second {
			t.Errorf("%d attempts, the last after %s", s.n, after)
		}
		m.stop(t)
	})
}

func TestAWrappedLoginIsHandedOnOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "token")
		m := mind(t, KeepOptions{}, build(t, stanza(path), Options{}))
		m.Deliver(wrappedToken)
		synctest.Wait()
		if got := content(t, path); got != wrappedLine {
			t.Errorf("got %s", got)
		}
		if err := os.Remove(path); err != nil { // its reader has used it
			t.Fatal(err)
		}
		pass(time.Hour)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a wrapping that was used is there again")
		}
		m.Deliver(wrappedToken) // another login
		synctest.Wait()
		if got := content(t, path); got != wrappedLine {
			t.Errorf("got %s", got)
		}
		m.stop(t)
	})
}

// ripening is a sink whose content goes bad.
type ripening struct {
	fake
	life   time.Duration
	due    time.Time
	intact atomic.Bool
}

func (r *ripening) Write(ctx context.Context, tok cred.Token) error {
	err := r.fake.Write(ctx, tok)
	if err == nil {
		r.due = cred.Wall(time.Now()).Add(r.life)
		r.intact.Store(true)
	}
	return err
}

func (r *ripening) Due() time.Time { return r.due }
func (r *ripening) Intact() bool   { return r.intact.Load() }

func TestContentThatGoesBadIsReplacedInTime(t *testing.T) {
	for _, tc := range []struct {
		name  string
		life  time.Duration
		wants int
	}{
		{"before it does", 10 * time.Minute, 1 + 6},
		{"but a server is not stormed", time.Millisecond, 1 + 1800},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := &ripening{fake: fake{name: "wrapped", write: fine}, life: tc.life}
				m := mind(t, KeepOptions{}, r)
				m.Deliver(numbered(1))
				synctest.Wait()
				if next := m.Status()[0].NextAt; next.IsZero() {
					t.Error("the status does not say when")
				}
				pass(time.Hour + time.Second)
				if r.n != tc.wants {
					t.Errorf("written %d times, want %d", r.n, tc.wants)
				}
				m.stop(t)
			})
		})
	}
}

func TestAWrappingThatIsTakenAwayIsReplacedOncePerLook(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := &ripening{fake: fake{name: "wrapped", write: fine}, life: time.Hour}
		m := mind(t, KeepOptions{Every: 5 * time.Second}, r)
		m.Deliver(numbered(1))
		for range 600 { // a reader who takes it whenever it is there
			pass(100 * time.Millisecond)
			r.intact.Store(false)
		}
		if r.n < 12 || r.n > 13 {
			t.Errorf("written %d times in a minute", r.n)
		}
		m.stop(t)
	})
}

func TestAClockThatWasSetBackRenewsWhatGoesBad(t *testing.T) {
	r := &ripening{life: time.Hour, due: time.Now().Add(time.Hour)}
	r.intact.Store(true)
	k := NewKeeper([]Sink{r}, KeepOptions{}).kept[0]
	if k.wroteAt = time.Now(); k.wants(numbered(1), retry.Reached) {
		t.Error("written again for no reason")
	}
	if !k.wants(numbered(1), retry.SetBack) {
		t.Error("a clock that was set back while waiting is not noticed")
	}
	if k.wroteAt = time.Now().Add(time.Minute); !k.wants(numbered(1), retry.Reached) {
		t.Error("a clock that was set back meanwhile is not noticed")
	}
	if k.wants(wrappedToken, retry.SetBack) {
		t.Error("a wrapped login is written twice")
	}
}

func TestASealedFileThatIsTakenAwayIsSealedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReader(t)
		m := mind(t, KeepOptions{}, mustNew(t, r.stanza(), Options{}))
		m.Deliver(numbered(1))
		synctest.Wait()
		first := r.envelope(t)
		pass(time.Minute)
		if !bytes.Equal(r.envelope(t), first) {
			t.Error("sealed again for no reason")
		}
		if err := os.Remove(r.path); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		again := r.envelope(t)
		if got, err := Open(again, r.key, nil, false); err != nil || string(got) != "hvs.canary-1" || bytes.Equal(first, again) {
			t.Errorf("got %q, %v", got, err)
		}
		m.stop(t)
	})
}

func TestASealedSinkWaitsForItsReader(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReader(t)
		if err := os.Remove(r.dhPath); err != nil {
			t.Fatal(err)
		}
		m := mind(t, KeepOptions{}, mustNew(t, r.stanza(), Options{}))
		m.Deliver(numbered(1))
		pass(time.Hour)
		r.announce(t, r.key)
		pass(30 * time.Second)
		if got, err := Open(r.envelope(t), r.key, nil, false); err != nil || string(got) != "hvs.canary-1" {
			t.Errorf("got %q, %v", got, err)
		}
		m.stop(t)
	})
}

func TestStandardOutputGetsEachTokenOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var out bytes.Buffer
		m := mind(t, KeepOptions{}, build(t, config.Sink{Type: "stdout"}, Options{Stdout: &out}))
		for n := range 2 {
			m.Deliver(numbered(n))
			pass(time.Hour)
		}
		if out.String() != "hvs.canary-0\nhvs.canary-1\n" {
			t.Errorf("got %q", out.String())
		}
		m.stop(t)
	})
}
