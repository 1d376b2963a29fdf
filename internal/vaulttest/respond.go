package vaulttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
)

// response is an answer in the making. The zero value is an answer with a body
// and no data.
type response struct {
	status   int // 0 is 200
	data     Map
	lease    *lease
	leaseTTL int // seconds, where there is a duration without a lease
	auth     Map
	wrap     Map
	warnings []string
	// flat repeats the data beside itself, as the older system paths do.
	flat      bool
	mountType string
	// plain is a body that has no envelope: JSON, or with kind anything.
	plain any
	kind  string
	// accessor goes along when the answer is wrapped.
	accessor string
	// stream takes the connection over instead of an answer; flow answers by itself,
	// when the server is no longer held up by it.
	stream *stream
	flow   http.HandlerFunc
	// requestID is empty but for an answer that was wrapped before.
	requestID string
}

func (p *response) write(w http.ResponseWriter) {
	switch {
	case p == nil:
		w.WriteHeader(http.StatusNoContent)
		return
	case p.kind != "":
		w.Header().Set("Content-Type", p.kind)
		if p.status != 0 {
			w.WriteHeader(p.status)
		}
		_, _ = fmt.Fprint(w, p.plain)
		return
	}
	if p.status != 0 {
		w.WriteHeader(p.status)
	}
	body := p.plain
	if body == nil {
		body = p.envelope()
	}
	_ = json.NewEncoder(w).Encode(body)
}

// envelope is the shape of nearly every answer.
func (p *response) envelope() Map {
	m := Map{
		"request_id": p.requestID, "lease_id": "", "renewable": false, "lease_duration": p.leaseTTL,
		"data": nil, "wrap_info": nil, "warnings": nil, "auth": nil, "mount_type": p.mountType,
	}
	if p.wrap == nil && p.requestID == "" {
		m["request_id"] = newUUID()
	}
	if p.data != nil {
		m["data"] = p.data
		if p.flat {
			flat := maps.Clone(p.data)
			maps.Copy(flat, m)
			m = flat
		}
	}
	if p.lease != nil {
		m["lease_id"], m["renewable"], m["lease_duration"] = p.lease.id, p.lease.terms != nil, seconds(p.lease.ttl)
	}
	if p.auth != nil {
		m["auth"] = p.auth
	}
	if p.wrap != nil {
		m["wrap_info"] = p.wrap
		m["mount_type"] = ""
	}
	if p.warnings != nil {
		m["warnings"] = p.warnings
	}
	return m
}

// ok is an answer with data.
func ok(data Map) (*response, error) { return &response{data: data}, nil }

// statusError is a refusal.
type statusError struct {
	status   int
	messages []string
}

func (e *statusError) Error() string {
	return fmt.Sprint(e.status, " ", strings.Join(e.messages, "; "))
}

func failure(status int, messages ...string) error { return &statusError{status, messages} }

func badRequest(format string, args ...any) error {
	return failure(http.StatusBadRequest, fmt.Sprintf(format, args...))
}

// notFound is the 404 without words.
func notFound() error { return failure(http.StatusNotFound) }

// multi is how the server counts its errors.
func multi(messages ...string) string {
	n := fmt.Sprintf("%d errors", len(messages))
	if len(messages) == 1 {
		n = "1 error"
	}
	return n + " occurred:\n\t* " + strings.Join(messages, "\n\t* ") + "\n\n"
}

func fail(w http.ResponseWriter, err error) {
	e := &statusError{status: http.StatusInternalServerError, messages: []string{err.Error()}}
	errors.As(err, &e)
	messages := e.messages
	if messages == nil {
		messages = []string{}
	}
	w.WriteHeader(e.status)
	_ = json.NewEncoder(w).Encode(Map{"errors": messages})
}
