package health

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Options are what a Handler answers from.
type Options struct {
	// Status is asked for every request but those for metrics and quit; it must
	// be safe for concurrent use and fill everything but Now.
	Status func() Status
	// Metrics answers /agent/v1/metrics; nil: 404.
	Metrics http.Handler
	// Quit begins the end of the daemon; it must not wait for it. It is called
	// once, however often somebody asks. nil: /agent/v1/quit is 404.
	Quit func()
	// MetricsOnly is the listener's role metrics_only: all else is 404.
	MetricsOnly bool
}

// MetricsOnly is the value of a listener's role that serves metrics alone.
const MetricsOnly = "metrics_only"

// The paths that Handler serves.
const (
	pathHealth  = "/agent/v1/health"
	pathReady   = "/agent/v1/ready"
	pathStatus  = "/agent/v1/status"
	pathMetrics = "/agent/v1/metrics"
	pathQuit    = "/agent/v1/quit"
)

// Handler serves health, ready, status, metrics and quit under /agent/v1/, as
// docs/health.md describes them. Another path is 404, another method 405 with
// Allow, both with Vault's {"errors": [...]}. Nothing asks for a token: who may
// connect to the listener may ask.
func Handler(o Options) http.Handler {
	routes := map[string]http.Handler{}
	if o.Metrics != nil {
		routes[pathMetrics] = methods{"GET, HEAD", o.Metrics}
	}
	if !o.MetricsOnly {
		routes[pathHealth] = methods{"GET, HEAD", answers(o.health)}
		routes[pathReady] = methods{"GET, HEAD", answers(o.ready)}
		routes[pathStatus] = methods{"GET, HEAD", answers(o.status)}
		if o.Quit != nil {
			// A web page in a browser on this machine can send a POST here too.
			guard := http.NewCrossOriginProtection()
			guard.SetDenyHandler(refusal(http.StatusForbidden, "not from another site's page"))
			routes[pathQuit] = methods{"POST", guard.Handler(quit(sync.OnceFunc(o.Quit)))}
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route, ok := routes[r.URL.Path]
		if !ok {
			route = refusal(http.StatusNotFound, "nothing is served at this path")
		}
		route.ServeHTTP(w, r)
	})
}

// methods lets only some methods through.
type methods struct {
	allow string // "GET, HEAD" or "POST", as the header Allow wants it
	next  http.Handler
}

// ServeHTTP answers 405 to the other methods.
func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case m.allow == "POST" && r.Method == http.MethodPost,
		m.allow != "POST" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		m.next.ServeHTTP(w, r)
	default:
		w.Header().Set("Allow", m.allow)
		refusal(http.StatusMethodNotAllowed, "the method must be "+m.allow).ServeHTTP(w, r)
	}
}

// answers is a handler that says something in JSON.
func answers(f func() (code int, body any)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		code, body := f()
		reply(w, code, body)
	})
}

func refusal(code int, text string) http.Handler {
	return answers(func() (int, any) { return code, map[string][]string{"errors": {text}} })
}

// reply writes body as JSON; net/http drops it from the answer to a HEAD.
func reply(w http.ResponseWriter, code int, body any) {
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	text = append(text, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text))) // said to a HEAD too
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(text)
}

// alive is the answer of /agent/v1/health.
type alive struct {
	Alive     bool      `json:"alive"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at,omitzero"`
	Uptime    int64     `json:"uptime_seconds"`
}

func (o Options) health() (int, any) {
	s := o.now()
	a := alive{Alive: true, Version: s.Version, StartedAt: s.StartedAt}
	if !s.StartedAt.IsZero() {
		a.Uptime = max(0, int64(s.Now.Sub(s.StartedAt).Seconds()))
	}
	return http.StatusOK, a
}

// readiness is the answer of /agent/v1/ready.
type readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"`
}

func (o Options) ready() (int, any) {
	s := o.now()
	if s.Ready {
		return http.StatusOK, readiness{Ready: true, Reasons: []string{}}
	}
	if len(s.Reasons) == 0 {
		s.Reasons = []string{"the first success is still to come"}
	}
	return http.StatusServiceUnavailable, readiness{Reasons: s.Reasons}
}

func (o Options) status() (int, any) { return http.StatusOK, o.now() }

// now is the status at this moment, within its bounds.
func (o Options) now() Status {
	s := o.Status()
	if s.Now.IsZero() {
		s.Now = time.Now().Round(0)
	}
	s.Token.TTL = s.Token.left(s.Now)
	if len(s.Identities) > 0 {
		s.Identities = slices.Clone(s.Identities)
		for i := range s.Identities {
			t := &s.Identities[i].Token
			t.TTL = t.left(s.Now)
		}
	}
	if len(s.Leases.Entries) > MaxEntries {
		s.Leases.Entries = s.Leases.Entries[:MaxEntries]
	}
	return s
}

// left is the time that the token has left, unless it is said already.
func (t Token) left(now time.Time) int64 {
	if t.ExpiresAt.IsZero() || t.TTL != 0 {
		return t.TTL
	}
	return max(0, int64(t.ExpiresAt.Round(0).Sub(now.Round(0)).Seconds()))
}

// quit answers before the end begins, so that who asked hears of it.
func quit(begin func()) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		begin()
	})
}
