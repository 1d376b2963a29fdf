package vaulttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Events lets the server offer sys/events/subscribe, as Vault Enterprise does;
// a Server offers it not, as the free server. Turned off, it ends the
// subscriptions there are.
//
// This is the one part of the fake that no transcript holds to the truth: the
// free server has none to record. It follows the documentation: a websocket
// with one JSON message for each write to or deletion in a KV version 2 mount.
// A token must be allowed to read the path it subscribes at, and is told of
// what it may "subscribe" to.
func (s *Server) Events(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = on
	if !on {
		s.endStreams()
	}
}

// Subscribers returns how many subscriptions are open.
func (s *Server) Subscribers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

func subscribe(r *request) (*response, error) {
	if !r.s.events || r.op != opRead {
		return nil, failure(http.StatusNotFound, multi("unsupported path"))
	}
	if !strings.EqualFold(r.http.Header.Get("Upgrade"), "websocket") {
		return nil, failure(http.StatusUpgradeRequired, "expected a websocket")
	}
	st := &stream{
		s: r.s, token: r.token, kind: r.params["kind"], json: r.query.Get("json") == "true",
		messages: make(chan []byte, 64), end: make(chan struct{}), ended: make(chan struct{}),
	}
	r.s.streams[st] = true
	return &response{stream: st}, nil
}

// publish tells everybody who may know what has happened to the secret of the
// request; the lock is held.
func (r *request) publish(operation string, secret *versioned) {
	kind, id := "kv-v2/"+operation, newUUID()
	event := Map{
		"id": id, "source": "vault://vaulttest", "specversion": "1.0", "type": kind,
		"datacontenttype": "application/cloudevents", "time": r.now.Format(time.RFC3339Nano),
		"data": Map{
			"event": Map{"id": id, "metadata": Map{
				"current_version": strconv.Itoa(secret.current), "oldest_version": strconv.Itoa(secret.oldest),
				"data_path": r.full, "path": r.full, "modified": "true", "operation": operation,
			}},
			"event_type":  kind,
			"plugin_info": Map{"mount_class": "secret", "mount_accessor": r.mount.accessor, "mount_path": r.mount.path, "plugin": r.mount.kind},
		},
	}
	for st := range r.s.streams {
		switch {
		case r.s.lookup(st.token.id) != st.token:
			st.close()
		case fitsKind(st.kind, kind) && st.may(r.full):
			message, err := json.Marshal(event)
			if err != nil || !st.json {
				message = []byte(fmt.Sprintf("vaulttest has events as JSON only: %v", err))
			}
			st.send(message)
		}
	}
}

// may reports whether the subscriber may know of a path.
func (st *stream) may(path string) bool {
	have := st.s.capabilities(st.token, path)
	return slices.Contains(have, "root") || slices.Contains(have, "subscribe")
}

// fitsKind compares a kind with a pattern, in which "*" stands for anything.
func fitsKind(pattern, kind string) bool {
	prefix, rest, glob := strings.Cut(pattern, "*")
	if !glob {
		return pattern == kind
	}
	tail, ok := strings.CutPrefix(kind, prefix)
	for i := 0; ok && i <= len(tail); i++ {
		if fitsKind(rest, tail[i:]) {
			return true
		}
	}
	return ok && rest == ""
}

// endStreams ends every subscription; the lock is held.
func (s *Server) endStreams() {
	for st := range s.streams {
		st.close()
	}
}

// dropStreams ends every subscription and waits for it.
func (s *Server) dropStreams() {
	s.mu.Lock()
	s.endStreams()
	var all []*stream
	for st := range s.streams {
		all = append(all, st)
	}
	s.mu.Unlock()
	for _, st := range all {
		<-st.ended
	}
}
