package cases

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"

	"latchkey/internal/vaulttest"
)

// Cluster stands for a Kubernetes API server: it answers TokenReviews, over
// TLS, for the service account tokens it has made.
type Cluster struct {
	Addr  string
	CAPEM string

	mu       sync.Mutex
	accounts map[string][2]string
	signer   *Signer
}

// NewCluster starts one, until the test ends.
func NewCluster(tb vaulttest.TB) *Cluster {
	tb.Helper()
	ca, err := vaulttest.NewCA("cluster")
	if err != nil {
		tb.Fatalf("cluster: %v", err)
	}
	conf, err := ca.ServerTLS()
	if err != nil {
		tb.Fatalf("cluster: %v", err)
	}
	c := &Cluster{CAPEM: string(ca.PEM), accounts: map[string][2]string{}, signer: NewSigner(tb, "ES256")}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", c.review)
	c.Addr = "https://" + serve(tb, mux, conf)
	return c
}

const audience = "https://kubernetes.default.svc"

// Account makes a token for a service account.
func (c *Cluster) Account(tb vaulttest.TB, namespace, name string) string {
	tb.Helper()
	jwt := c.signer.Sign(tb, m{
		"iss": audience, "sub": "system:serviceaccount:" + namespace + ":" + name,
		"aud": []string{audience}, "exp": 4102444800, "iat": 1700000000,
		"kubernetes.io": m{"namespace": namespace, "serviceaccount": m{"name": name, "uid": uidOf(namespace, name)}},
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accounts[jwt] = [2]string{namespace, name}
	return jwt
}

// Forget makes the cluster not know a token any more.
func (c *Cluster) Forget(jwt string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.accounts, jwt)
}

func (c *Cluster) review(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Spec struct {
			Token string `json:"token"`
		} `json:"spec"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	account, ok := c.accounts[in.Spec.Token]
	c.mu.Unlock()
	status := m{"authenticated": false, "error": "[invalid bearer token]"}
	if ok {
		status = m{"authenticated": true, "audiences": []string{audience}, "user": m{
			"username": "system:serviceaccount:" + account[0] + ":" + account[1], "uid": uidOf(account[0], account[1]),
			"groups": []string{"system:serviceaccounts", "system:serviceaccounts:" + account[0], "system:authenticated"},
		}}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(m{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
}

func uidOf(namespace, name string) string {
	return "uid-" + base64.RawURLEncoding.EncodeToString([]byte(namespace+"/"+name))
}

// Broker stands for a RabbitMQ: what Vault's rabbitmq engine, the leased
// engine that needs no database, makes users in.
type Broker struct {
	Addr string

	mu    sync.Mutex
	users map[string]bool
}

// NewBroker starts one, until the test ends.
func NewBroker(tb vaulttest.TB) *Broker {
	tb.Helper()
	b := &Broker{users: map[string]bool{}}
	b.Addr = "http://" + serve(tb, http.HandlerFunc(b.api), nil)
	return b
}

// Users returns how many users there are.
func (b *Broker) Users() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.users)
}

func (b *Broker) api(w http.ResponseWriter, r *http.Request) {
	name, isUser := strings.CutPrefix(r.URL.Path, "/api/users/")
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case isUser && r.Method == http.MethodPut:
		b.users[name] = true
		w.WriteHeader(http.StatusCreated)
	case isUser && r.Method == http.MethodDelete:
		delete(b.users, name)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		w.WriteHeader(http.StatusCreated)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("[]"))
	}
}

// serve listens on a free port until the test ends.
func serve(tb vaulttest.TB, h http.Handler, conf *tls.Config) string {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen: %v", err)
	}
	addr := ln.Addr().String()
	if conf != nil {
		ln = tls.NewListener(ln, conf)
	}
	srv := &http.Server{Handler: h, TLSConfig: conf} //nolint:gosec // a test's own client
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln)
	}()
	tb.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return addr
}
