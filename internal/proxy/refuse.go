package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"latchkey/internal/exchange"
	"latchkey/internal/vault"
)

// refusal is an answer of ours. Its text is for everybody to read.
type refusal struct {
	status int
	text   string
	// after is the value of Retry-After, 0 for none.
	after time.Duration
	// to is where a redirect leads.
	to string
}

func (r refusal) Error() string { return r.text }

// comeBack is how long who could not be lent a token is asked to wait: about what
// a login takes, and its first repetition.
const comeBack = 2 * time.Second

// refuse answers for a request that has no answer.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	no := explain(err)
	switch {
	case no.status >= 500:
		h.Meter.Count("proxy.error", 1)
	default:
		h.Meter.Count("proxy.client_error", 1)
	}
	head := w.Header()
	if no.after > 0 {
		head.Set("Retry-After", strconv.Itoa(int((no.after+time.Second-1)/time.Second)))
	}
	if no.to != "" {
		head.Set("Location", no.to)
	}
	exchange.Refuse(w, no.status, no.text)
	h.note(r, no.status, no.text)
}

// explain turns an error into an answer. Of an error of the client's it says the
// cause alone, because the rest is the path, and that may hold a token.
func explain(err error) refusal {
	var no refusal
	var large *http.MaxBytesError
	var ve *vault.Error
	switch {
	case errors.As(err, &no):
		return no
	case errors.As(err, &large):
		return refusal{status: http.StatusRequestEntityTooLarge, text: fmt.Sprintf("the body is larger than %d bytes", large.Limit)}
	}
	why := err
	if errors.As(err, &ve) {
		if why = ve.Cause; why == nil {
			why = ve.Kind
		}
		if ve.Kind == vault.ErrNotLoggedIn {
			return refusal{status: http.StatusServiceUnavailable, text: "there is no token to lend yet: " + why.Error(), after: comeBack}
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return refusal{status: http.StatusGatewayTimeout, text: "the server did not answer: " + why.Error()}
	case errors.Is(err, vault.ErrBadRequest):
		return refusal{status: http.StatusBadRequest, text: why.Error()}
	case errors.Is(err, context.Canceled):
		return refusal{status: http.StatusServiceUnavailable, text: "the request was given up"}
	}
	return refusal{status: http.StatusBadGateway, text: "the server cannot be reached: " + why.Error()}
}

// note writes the one line about a request.
func (h *handler) note(r *http.Request, status int, more string) {
	ctx := r.Context()
	if !h.Log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	h.Log.DebugContext(ctx, "request", "method", r.Method, "path", shown(r.URL.Path), "status", status, "outcome", more)
}
