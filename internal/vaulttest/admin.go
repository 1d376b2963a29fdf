package vaulttest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
)

// Map is a JSON object.
type Map = map[string]any

// Admin is a client with the root token, for setting a server up. It speaks
// plain HTTP so that it works alike on the fake and on a real server, and ends
// the test where something does not work.
type Admin struct {
	// Addr is the server's URL without a trailing slash.
	Addr string
	// Token is sent with each request unless empty.
	Token string
	// Header is sent too.
	Header http.Header

	tb   TB
	http *http.Client
}

// NewAdmin returns an Admin for a server; caPEM is for https, cert a client
// certificate or nil.
func NewAdmin(tb TB, addr, token string, caPEM []byte, cert *tls.Certificate) *Admin {
	tb.Helper()
	transport := &http.Transport{ForceAttemptHTTP2: true}
	if caPEM != nil {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(caPEM)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if cert != nil {
		transport.TLSClientConfig.Certificates = []tls.Certificate{*cert}
	}
	tb.Cleanup(transport.CloseIdleConnections)
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Admin{
		Addr: strings.TrimSuffix(addr, "/"), Token: token, tb: tb,
		http: &http.Client{Transport: transport, CheckRedirect: noRedirect},
	}
}

// As returns a view with another token, "" for none.
func (a *Admin) As(token string) *Admin {
	c := *a
	c.Token = token
	return &c
}

// With returns a view that sends one more header.
func (a *Admin) With(name, value string) *Admin {
	c := *a
	c.Header = a.Header.Clone()
	if c.Header == nil {
		c.Header = http.Header{}
	}
	c.Header.Set(name, value)
	return &c
}

// For returns a view that reports to another test.
func (a *Admin) For(tb TB) *Admin {
	c := *a
	c.tb = tb
	return &c
}

// Over returns a view whose connections are made by dial, whatever address they
// are to: a unix socket.
func (a *Admin) Over(dial func(ctx context.Context) (net.Conn, error)) *Admin {
	a.tb.Helper()
	c := *a
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
	a.tb.Cleanup(transport.CloseIdleConnections)
	client := *a.http
	client.Transport = transport
	c.http = &client
	return &c
}

// Answer is what a server said.
type Answer struct {
	Status int
	// Proto is the answer's, such as HTTP/2.0.
	Proto  string
	Header http.Header
	Body   []byte
	// JSON is the body decoded, numbers as json.Number; nil if it is none.
	JSON Map

	what string
	tb   TB
}

// Do sends one request; body is nil, a string or []byte as they are, or
// anything that becomes JSON. Path is without /v1/, unless it begins with a
// slash, and may have a query.
func (a *Admin) Do(method, path string, body any) *Answer {
	a.tb.Helper()
	ans, err := a.Try(method, path, body)
	if err != nil {
		a.tb.Fatalf("%s %s: %v", method, path, err)
	}
	return ans
}

// Try is Do for any goroutine: it returns what went wrong.
func (a *Admin) Try(method, path string, body any) (*Answer, error) {
	var payload io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		payload = strings.NewReader(b)
	case []byte:
		payload = bytes.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(data)
	}
	if !strings.HasPrefix(path, "/") {
		path = "/v1/" + path
	}
	req, err := http.NewRequest(method, a.Addr+path, payload) //nolint:noctx // bounded by the test
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, a.Header)
	req.Host = a.Header.Get("Host") // empty: that of the address
	if a.Token != "" {
		req.Header.Set("X-Vault-Token", a.Token)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	ans := &Answer{Status: resp.StatusCode, Proto: resp.Proto, Header: resp.Header, what: method + " " + path, tb: a.tb}
	if ans.Body, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(ans.Body))
	dec.UseNumber()
	if dec.Decode(&ans.JSON) != nil {
		ans.JSON = nil
	}
	return ans, nil
}

// OK is Do that ends the test unless the answer is 2xx.
func (a *Admin) OK(method, path string, body any) *Answer {
	a.tb.Helper()
	ans := a.Do(method, path, body)
	if ans.Status/100 != 2 {
		a.tb.Fatalf("%s %s: %d %s", method, path, ans.Status, ans.Body)
	}
	return ans
}

// At returns the value at a dotted path such as "auth.client_token", nil when
// there is none.
func (a *Answer) At(path string) any {
	var v any = map[string]any(a.JSON)
	for key := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

// Str is At for a string that must be there.
func (a *Answer) Str(path string) string {
	a.tb.Helper()
	s, ok := a.At(path).(string)
	if !ok {
		a.tb.Fatalf("%s: no string at %s in %s", a.what, path, a.Body)
	}
	return s
}

// Int is At for a whole number, -1 when there is none.
func (a *Answer) Int(path string) int {
	n, _ := a.At(path).(json.Number)
	i, err := n.Int64()
	if err != nil {
		return -1
	}
	return int(i)
}

// Errors returns the "errors" of the answer.
func (a *Answer) Errors() []string {
	var out []string
	list, _ := a.JSON["errors"].([]any)
	for _, e := range list {
		out = append(out, fmt.Sprint(e))
	}
	return out
}

// Mount enables a secrets engine at path, until the test ends; options may be
// nil. "kv" with {"version": "2"} is KV version 2.
func (a *Admin) Mount(path, kind string, options Map) {
	a.tb.Helper()
	a.OK("POST", "sys/mounts/"+path, Map{"type": kind, "options": options})
	a.tb.Cleanup(func() { _, _ = a.Try("DELETE", "sys/mounts/"+path, nil) })
}

// EnableAuth enables an auth method at auth/<path>, until the test ends.
func (a *Admin) EnableAuth(path, kind string) {
	a.tb.Helper()
	a.OK("POST", "sys/auth/"+path, Map{"type": kind})
	a.tb.Cleanup(func() { _, _ = a.Try("DELETE", "sys/auth/"+path, nil) })
}

// Policy makes a policy from path to capabilities.
func (a *Admin) Policy(name string, paths map[string][]string) {
	a.tb.Helper()
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		fmt.Fprintf(&b, "path %q { capabilities = [\"%s\"] }\n", path, strings.Join(paths[path], `", "`))
	}
	a.OK("PUT", "sys/policies/acl/"+name, Map{"policy": b.String()})
	a.tb.Cleanup(func() { _, _ = a.Try("DELETE", "sys/policies/acl/"+name, nil) })
}

// WriteKV1 and WriteKV2 write a secret; mount is without a slash at its end.
func (a *Admin) WriteKV1(mount, path string, data Map) {
	a.tb.Helper()
	a.OK("PUT", mount+"/"+path, data)
}

// WriteKV2 writes a new version; see WriteKV1.
func (a *Admin) WriteKV2(mount, path string, data Map) {
	a.tb.Helper()
	a.OK("PUT", mount+"/data/"+path, Map{"data": data})
}

// NewToken creates a token; opts are those of auth/token/create.
func (a *Admin) NewToken(opts Map) string {
	a.tb.Helper()
	return a.OK("POST", "auth/token/create", opts).Str("auth.client_token")
}

// AppRole makes a role and returns its role id; opts are the role's own.
func (a *Admin) AppRole(mount, role string, opts Map) (roleID string) {
	a.tb.Helper()
	a.OK("POST", "auth/"+mount+"/role/"+role, opts)
	return a.OK("GET", "auth/"+mount+"/role/"+role+"/role-id", nil).Str("data.role_id")
}

// SecretID makes a secret id for a role.
func (a *Admin) SecretID(mount, role string) string {
	a.tb.Helper()
	return a.OK("POST", "auth/"+mount+"/role/"+role+"/secret-id", nil).Str("data.secret_id")
}

// WrappedSecretID makes a secret id and returns the token that wraps it.
func (a *Admin) WrappedSecretID(mount, role, ttl string) string {
	a.tb.Helper()
	return a.With("X-Vault-Wrap-TTL", ttl).
		OK("POST", "auth/"+mount+"/role/"+role+"/secret-id", nil).Str("wrap_info.token")
}

// Wrap has the server wrap data.
func (a *Admin) Wrap(ttl string, data Map) string {
	a.tb.Helper()
	return a.With("X-Vault-Wrap-TTL", ttl).OK("POST", "sys/wrapping/wrap", data).Str("wrap_info.token")
}

// Revoke ends a token, and all that hangs on it, from outside.
func (a *Admin) Revoke(token string) {
	a.tb.Helper()
	a.OK("POST", "auth/token/revoke", Map{"token": token})
}

// RevokeAccessor is Revoke for who does not know the token itself.
func (a *Admin) RevokeAccessor(accessor string) {
	a.tb.Helper()
	a.OK("POST", "auth/token/revoke-accessor", Map{"accessor": accessor})
}
