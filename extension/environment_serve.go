package extension

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"latchkey/internal/envwire"
)

const (
	// askers is how many may be answered at once: a runtime that is started is one.
	askers = 16
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
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer func() {
		if stop() {
			_ = l.Close()
		}
	}()
	turn := make(chan struct{}, askers)
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
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
				answerOne(ctx, conn, answer)
			}
		})
	}
}

// answerOne answers one asker.
func answerOne(ctx context.Context, conn *net.UnixConn, answer func(context.Context) envwire.Answer) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		// An asker says nothing. The end of its side, or a word, is the end.
		_, _ = conn.Read(make([]byte, 1))
		cancel()
	})
	a := answer(ctx)
	b, err := envwire.Encode(a)
	if err != nil {
		b, _ = envwire.Encode(envwire.Answer{Unset: a.Unset, Err: err.Error()})
	}
	if ctx.Err() == nil {
		_ = conn.SetWriteDeadline(time.Now().Add(sendTime))
		_, _ = conn.Write(b)
	}
	_ = conn.Close()
}
