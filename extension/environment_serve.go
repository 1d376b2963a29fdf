package extension

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"latchkey/internal/envwire"
	"latchkey/internal/retry"
)

const (
	// askers is how many are answered at once: a runtime that is started is one.
	askers = 16
	// burst and pace bound how often values are resolved, whoever asks: a runtime that
	// crashes as soon as it starts does not become a storm on the server.
	burst = 4
	pace  = time.Second
	// sendTime is how long an asker may take to read its answer.
	sendTime = 5 * time.Second
)

// serveEnvironment answers whoever connects to l until ctx ends, closes l, and waits
// for those it is answering. Only processes of this user get an answer; others get
// nothing. answer is called anew for each, with a context that ends when the asker
// goes away; it may be called by several at once. The error is l's, and nil when ctx
// ended.
func serveEnvironment(ctx context.Context, l *net.UnixListener, answer func(context.Context) envwire.Answer) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer l.Close()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	turn := make(chan struct{}, askers)
	var p pacer
	for {
		conn, err := l.AcceptUnix()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case exhausted(err):
			retry.Sleep(ctx, pace)
			continue
		default:
			return fmt.Errorf("the socket for the function's environment: %w", err)
		}
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			_ = conn.Close()
			return nil
		}
		wg.Go(func() {
			defer func() { <-turn }()
			defer conn.Close()
			if sameUser(conn) {
				answerOne(ctx, conn, &p, answer)
			}
		})
	}
}

// exhausted reports whether there was no room for one connection more, which there
// may be again.
func exhausted(err error) bool {
	for _, e := range [...]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// answerOne answers one asker.
func answerOne(ctx context.Context, conn *net.UnixConn, p *pacer, answer func(context.Context) envwire.Answer) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer conn.Close() // ends the read below
	defer cancel()
	wg.Go(func() {
		// An asker says nothing. The end of its side, or a word, is the end.
		_, _ = conn.Read(make([]byte, 1))
		cancel()
	})
	// The end of ctx ends a write that nobody reads.
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if !retry.Sleep(ctx, p.take(time.Now())) {
		return
	}
	a := answer(ctx)
	if ctx.Err() != nil {
		return
	}
	b, err := envwire.Encode(a)
	if err != nil {
		b, _ = envwire.Encode(envwire.Answer{Unset: a.Unset, Err: err.Error()})
	}
	_ = conn.SetWriteDeadline(time.Now().Add(sendTime))
	_, _ = conn.Write(b)
}

// pacer lets burst through at once and one more each pace.
type pacer struct {
	mu   sync.Mutex
	full time.Time // when nothing of the burst is used any more, by the wall clock
}

// take is how long who comes at now has to wait.
func (p *pacer) take(now time.Time) time.Duration {
	now = now.Round(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full.Before(now) {
		p.full = now
	}
	// A clock that was set back does not make anyone wait for it.
	if latest := now.Add((burst + askers) * pace); p.full.After(latest) {
		p.full = latest
	}
	p.full = p.full.Add(pace)
	return max(0, p.full.Sub(now)-burst*pace)
}
