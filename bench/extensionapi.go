package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// lambda is the platform of one cold start: as much of Lambda's Extensions and
// Runtime API as it takes to start, to invoke and to shut down, and a note of the
// moment at which each call arrives. It holds nobody to the protocol; that is what
// tests are for.
type lambda struct {
	url      string // host:port
	server   *http.Server
	launched chan struct{} // closed when ext is known
	ext      *resident

	registered, ready, runtime arrival
	nexts                      chan time.Time
	told                       atomic.Int64 // when the last event was sent, Unix nanoseconds
	events                     chan string
	broken                     chan error
	done                       chan struct{}
}

// arrival is the first call of a kind.
type arrival struct {
	once sync.Once
	came chan struct{}
	at   time.Time
	// cpu is the processor time of the extension by then.
	cpu time.Duration
	err error
}

func (a *arrival) note(of *resident) {
	a.once.Do(func() {
		a.at = time.Now()
		if of != nil {
			a.cpu, a.err = of.cpu()
		}
		close(a.came)
	})
}

func newLambda() (*lambda, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &lambda{
		url: l.Addr().String(), launched: make(chan struct{}), nexts: make(chan time.Time, 1),
		events: make(chan string), broken: make(chan error, 8), done: make(chan struct{}),
	}
	for _, a := range []*arrival{&p.registered, &p.ready, &p.runtime} {
		a.came = make(chan struct{})
	}
	mux := http.NewServeMux()
	const base = "/2020-01-01/extension/"
	mux.HandleFunc("POST "+base+"register", p.register)
	mux.HandleFunc("GET "+base+"event/next", p.next)
	mux.HandleFunc("POST "+base+"{what}/error", p.failed)
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(_ http.ResponseWriter, r *http.Request) {
		p.runtime.note(nil)
		p.hold(r)
	})
	p.server = &http.Server{Handler: mux}
	go func() { _ = p.server.Serve(l) }()
	return p, nil
}

func (p *lambda) close() {
	close(p.done)
	_ = p.server.Close()
}

// hold keeps a call waiting.
func (p *lambda) hold(r *http.Request) {
	select {
	case <-p.done:
	case <-r.Context().Done():
	}
}

func (p *lambda) register(w http.ResponseWriter, r *http.Request) {
	<-p.launched
	p.registered.note(p.ext)
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Lambda-Extension-Identifier", "00000000-0000-4000-8000-000000000000")
	_, _ = io.WriteString(w, `{"functionName":"bench","functionVersion":"$LATEST","handler":"bootstrap"}`)
}

func (p *lambda) next(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	p.ready.note(p.ext)
	select { // only who invokes wants to know
	case p.nexts <- now:
	default:
	}
	select {
	case e := <-p.events:
		w.Header().Set("Lambda-Extension-Event-Identifier", "00000000-0000-4000-8000-000000000000")
		w.Header().Set("Content-Length", strconv.Itoa(len(e)))
		p.told.Store(time.Now().UnixNano())
		_, _ = io.WriteString(w, e)
	case <-p.done:
	case <-r.Context().Done():
	}
}

func (p *lambda) failed(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	select {
	case p.broken <- fmt.Errorf("told the platform %s: %s", r.Header.Get("Lambda-Extension-Function-Error-Type"), text):
	default:
	}
	w.WriteHeader(http.StatusAccepted)
}

// await waits for a call.
func (p *lambda) await(ctx context.Context, a *arrival) error {
	ctx, cancel := context.WithTimeoutCause(ctx, *patience, errPatience)
	defer cancel()
	select {
	case <-a.came:
		return a.err
	case err := <-p.broken:
		return err
	case <-p.ext.ended:
		return errors.New("it has ended" + tail(p.ext.log))
	case <-ctx.Done():
		return fmt.Errorf("%w%s", context.Cause(ctx), tail(p.ext.log))
	}
}

// invoke sends an event and says how long it took until the extension asked for
// the next one.
func (p *lambda) invoke(ctx context.Context) (time.Duration, error) {
	select {
	case <-p.nexts: // which was before
	default:
	}
	event, err := json.Marshal(map[string]any{
		"eventType": "INVOKE", "deadlineMs": time.Now().Add(3 * time.Second).UnixMilli(), "requestId": "00000000-0000-4000-8000-000000000000",
		"invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:bench",
		"tracing":            map[string]string{"type": "X-Amzn-Trace-Id", "value": "Root=1-00000000-000000000000000000000000"},
	})
	if err != nil {
		return 0, err
	}
	if err := p.send(ctx, string(event)); err != nil {
		return 0, err
	}
	select {
	case at := <-p.nexts:
		return time.Duration(at.UnixNano() - p.told.Load()), nil
	case <-p.ext.ended:
		return 0, errors.New("it has ended" + tail(p.ext.log))
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (p *lambda) send(ctx context.Context, event string) error {
	select {
	case p.events <- event:
		return nil
	case <-p.ext.ended:
		return errors.New("it has ended" + tail(p.ext.log))
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// shutdownLimit is what Lambda gives for all of a shutdown.
const shutdownLimit = 2 * time.Second

// shutdown has the extension end itself, and says how long that took.
func (p *lambda) shutdown(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	if err := p.send(ctx, fmt.Sprintf(`{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":%d}`, start.Add(shutdownLimit).UnixMilli())); err != nil {
		return 0, err
	}
	select {
	case <-p.ext.ended:
		return time.Since(start), nil
	case <-time.After(5 * shutdownLimit):
		return 0, fmt.Errorf("it did not end after SHUTDOWN%s", tail(p.ext.log))
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
