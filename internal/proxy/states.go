package proxy

import (
	"net/http"
	"sync"

	"latchkey/internal/vault"
)

// States are the newest that the server's answers told of, for servers with
// standbys that answer. The zero value knows of none.
type States struct {
	mu   sync.Mutex
	kept []string
}

// newest returns one or two, or nil. It is not to be changed.
func (s *States) newest() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

func (s *States) learn(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.kept {
		if k == state {
			return
		}
	}
	s.kept = vault.MergeStates(s.kept, state)
}

// require asks for the newest state, unless the client says what it wants.
func (h *handler) require(out http.Header) {
	if !h.Consistency.Enforce || out["X-Vault-Index"] != nil || out["X-Vault-Forward"] != nil || out["X-Vault-Inconsistent"] != nil {
		return
	}
	states := h.States.newest()
	if len(states) == 0 {
		return
	}
	out["X-Vault-Index"] = states
	if h.Consistency.When == "forward" {
		out["X-Vault-Inconsistent"] = toActive
	}
}

// learn keeps the state that an answer tells of.
func (h *handler) learn(answer http.Header) {
	if h.Consistency.Enforce {
		for _, state := range answer["X-Vault-Index"] {
			h.States.learn(state)
		}
	}
}
