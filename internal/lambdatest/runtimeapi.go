//go:build linux

package lambdatest

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

const fromRuntime = "runtime"

// invocationNext parks the runtime until there is something to do.
func (l *life) invocationNext(*http.Request) (string, answer) {
	l.mu.Lock()
	w := l.worker
	if l.p.o.InitType == ManagedInstances {
		if len(w.parked) == l.p.o.Concurrency {
			l.mu.Unlock()
			return fromRuntime, answer{status: http.StatusInternalServerError, error: "TooManyIdleRuntimes", body: map[string]string{
				"errorType": "InternalServerError", "errorMessage": "Internal Server Error",
			}}
		}
	} else {
		switch w.state {
		case started, restoring, responded, ready:
		case running: // asked again, it is told again
			for _, i := range w.current {
				l.mu.Unlock()
				return fromRuntime, i.answer()
			}
		default:
			defer l.mu.Unlock()
			return fromRuntime, wrongRuntimeState(w.state, ready)
		}
		w.parked = nil // one who asks twice is one
	}
	w.state = ready
	wait := make(chan *invocation, 1)
	w.parked = append(w.parked, wait)
	if w.readyAt.IsZero() {
		w.readyAt = time.Now()
	}
	l.changed()
	l.mu.Unlock()
	select {
	case i := <-wait:
		return fromRuntime, i.answer()
	case <-l.done:
		return fromRuntime, answer{}
	}
}

func (i *invocation) answer() answer {
	return answer{status: http.StatusOK, header: i.headers, body: i.payload}
}

// give hands an invocation to a runtime that waits. With the lock held.
func (w *worker) give(i *invocation) {
	wait := w.parked[0]
	w.parked = slices.Delete(w.parked, 0, 1)
	w.current[i.id] = i
	w.state = running
	wait <- i
}

func (l *life) invocationResponse(r *http.Request) (string, answer) {
	return fromRuntime, l.answer(r, responding, func(i *invocation, body []byte) answer {
		if len(body) > maxPayload {
			i.failure = &Fault{Type: TooLarge, Message: "Response payload size exceeded maximum allowed payload size (6291556 bytes)."}
			return answer{status: http.StatusRequestEntityTooLarge, error: "RequestEntityTooLarge", body: map[string]string{
				"errorType": "RequestEntityTooLarge", "errorMessage": "Exceeded maximum allowed payload size (6291556 bytes).",
			}}
		}
		i.response = body
		return accepted
	})
}

func (l *life) invocationError(r *http.Request) (string, answer) {
	return fromRuntime, l.answer(r, failing, func(i *invocation, body []byte) answer {
		i.failure = &Fault{Type: runtimeErrorType(r), Message: "the function returned an error", Payload: body}
		return accepted
	})
}

func (l *life) answer(r *http.Request, to string, take func(*invocation, []byte) answer) answer {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPayload+1))
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.worker
	i := w.current[r.PathValue("id")]
	if i == nil {
		return answer{status: http.StatusBadRequest, error: "InvalidRequestID", body: map[string]string{
			"errorMessage": "Invalid request ID", "errorType": "InvalidRequestID",
		}}
	}
	if i.answered {
		return wrongRuntimeState(w.state, to)
	}
	if err != nil {
		return answer{status: http.StatusBadRequest, error: "TruncatedHTTPRequest", body: map[string]string{
			"errorMessage": "HTTP request detected as truncated", "errorType": "TruncatedHTTPRequest",
		}}
	}
	a := take(i, body)
	i.answered = true
	w.state = responded
	if l.p.o.InitType == ManagedInstances {
		delete(w.current, i.id)
	}
	l.changed()
	return a
}

// runtimeErrorType is what the runtime called its error, when that is one of the
// names that the platform passes on.
func runtimeErrorType(r *http.Request) string {
	kind := r.Header.Get("Lambda-Runtime-Function-Error-Type")
	switch {
	case strings.HasPrefix(kind, "Runtime.") && len(kind) > len("Runtime."),
		strings.HasPrefix(kind, "Function.") && len(kind) > len("Function."):
		return kind
	}
	return "Runtime.Unknown"
}

// runtimeInitError notes that the function's static code failed. The life ends
// with the process.
func (l *life) runtimeInitError(r *http.Request) (string, answer) {
	body, _ := io.ReadAll(r.Body)
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.worker
	if w.state != started && w.state != restoring {
		return fromRuntime, wrongRuntimeState(w.state, initFailed)
	}
	w.state = initFailed
	if l.fault == nil {
		l.fault = &Fault{Type: runtimeErrorType(r), Message: "the function failed to start", Payload: body}
	}
	l.changed()
	return fromRuntime, accepted
}

// restoreNext parks a runtime that has hooks until it is restored.
func (l *life) restoreNext(*http.Request) (string, answer) {
	l.mu.Lock()
	w := l.worker
	if w.state != started {
		defer l.mu.Unlock()
		return fromRuntime, wrongRuntimeState(w.state, restoreReady)
	}
	w.state, w.restore = restoreReady, make(chan struct{})
	restored := w.restore
	l.changed()
	l.mu.Unlock()
	select {
	case <-restored:
		return fromRuntime, answer{status: http.StatusOK, body: []byte{}}
	case <-l.done:
		return fromRuntime, answer{}
	}
}

// credentials are given to who knows the token, as in SnapStart, where no
// variable can hold them.
func (l *life) credentials(r *http.Request) (string, answer) {
	p := l.p
	if r.Header.Get("Authorization") != p.credentialsToken {
		return "", answer{status: http.StatusNotFound, error: "CredentialsNotFound", body: []byte("cannot get credentials for the provided token\n")}
	}
	p.mu.Lock()
	c := p.keys
	p.mu.Unlock()
	if c.Expiration.IsZero() {
		c.Expiration = time.Now().Add(6 * time.Hour)
	}
	return "", answer{status: http.StatusOK, body: map[string]any{
		"AccessKeyId": c.AccessKeyID, "SecretAccessKey": c.SecretAccessKey, "Token": c.SessionToken, "Expiration": c.Expiration.UTC(),
	}}
}
