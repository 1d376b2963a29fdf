package guard

import "net/http"

// headerGuard wants exactly one X-Vault-Request: true.
type headerGuard struct {
	*door
	next http.Handler
}

func (g *headerGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if v := r.Header["X-Vault-Request"]; len(v) != 1 || v[0] != "true" {
		g.refuse(w, r, noHeader, http.StatusPreconditionFailed,
			"this listener serves only requests with exactly one header X-Vault-Request, and it true: the libraries for Vault send it, elsewhere add it")
		return
	}
	g.next.ServeHTTP(w, r)
}

// methodGuard lets only through what reads.
type methodGuard struct {
	*door
	next http.Handler
}

func (g *methodGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, "LIST":
		g.next.ServeHTTP(w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD, LIST")
		g.refuse(w, r, noMethod, http.StatusMethodNotAllowed,
			"this listener is read-only: the method must be GET, HEAD or LIST")
	}
}
