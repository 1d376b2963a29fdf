package vaulttest

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"sync"
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
func NewCluster(tb TB) *Cluster {
	tb.Helper()
	ca, err := NewCA("cluster")
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
	c.Addr = Serve(tb, mux, conf)
	return c
}

const audience = "https://kubernetes.default.svc"

// Account makes a token for a service account.
func (c *Cluster) Account(tb TB, namespace, name string) string {
	tb.Helper()
	jwt := c.signer.Sign(tb, Map{
		"iss": audience, "sub": "system:serviceaccount:" + namespace + ":" + name,
		"aud": []string{audience}, "exp": 4102444800, "iat": 1700000000,
		"kubernetes.io": Map{"namespace": namespace, "serviceaccount": Map{"name": name, "uid": uidOf(namespace, name)}},
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
	status := Map{"authenticated": false, "error": "[invalid bearer token]"}
	if ok {
		status = Map{"authenticated": true, "audiences": []string{audience}, "user": Map{
			"username": "system:serviceaccount:" + account[0] + ":" + account[1], "uid": uidOf(account[0], account[1]),
			"groups": []string{"system:serviceaccounts", "system:serviceaccounts:" + account[0], "system:authenticated"},
		}}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(Map{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
}

func uidOf(namespace, name string) string {
	return "uid-" + base64.RawURLEncoding.EncodeToString([]byte(namespace+"/"+name))
}

// Serve listens on a free port until the test ends, with TLS unless conf is
// nil, and returns the address.
func Serve(tb TB, h http.Handler, conf *tls.Config) string {
	tb.Helper()
	d := &door{handler: h, tls: conf}
	if err := d.open(); err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(d.shut)
	return d.url()
}
