package cache

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/vault"
)

// kv is a server with one version 2 engine at secret/, as far as the cache gets to
// see it. The zero value of each field is a server that does what it should.
type kv struct {
	mu       sync.Mutex
	versions map[string][]version // by path below secret/data/
	// denied are the paths a token may not read, "token path"; a token alone may
	// read nothing and ask nothing.
	denied map[string]bool
	// down is what every request gets instead of an answer.
	down error
	// status is what a client's request gets instead of an answer.
	status int
	// silent leaves mount_type out.
	silent bool
	// blind refuses metadata.
	blind bool
	// tight refuses questions about capabilities.
	tight bool
	// gate holds up a client's requests until it is closed.
	gate chan struct{}
	// delay is how long a client's request takes.
	delay time.Duration

	// tokens are those of which there is more to say than that they never end.
	tokens map[string]cred.Token

	reads, metas, caps, mounts, lookups atomic.Int64
	capPaths                            []string
}

type version struct {
	value   string
	created time.Time
}

func newKV() *kv {
	return &kv{versions: map[string][]version{}, denied: map[string]bool{}, tokens: map[string]cred.Token{}}
}

// set writes behind the cache's back.
func (s *kv) set(path, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[path] = append(s.versions[path], version{value, time.Now()})
}

func (s *kv) with(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *kv) may(tok cred.Redacted, path string) bool {
	t := tok.Reveal()
	return !s.denied[t] && !s.denied[t+" "+path]
}

func answer(status int, body string) *exchange.Answer {
	return &exchange.Answer{
		Status: status, Body: []byte(body), At: time.Now().Round(0),
		Header: http.Header{
			"Content-Type": {"application/json"}, "Cache-Control": {"no-store"},
			"Date": {time.Now().UTC().Format(http.TimeFormat)}, "Strict-Transport-Security": {"max-age=31536000; includeSubDomains"},
		},
	}
}

// fetch answers a client's request, which is made with tok.
func (s *kv) fetch(a *exchange.Ask, tok string) exchange.Fetch {
	return func(ctx context.Context) (*exchange.Answer, error) {
		s.reads.Add(1)
		s.mu.Lock()
		gate, delay := s.gate, s.delay
		s.mu.Unlock()
		if gate != nil {
			select {
			case <-gate:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if delay > 0 {
			select {
			case <-time.After(delay):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.down != nil {
			return nil, s.down
		}
		if s.status != 0 {
			return answer(s.status, `{"errors":["as told"]}`), nil
		}
		at := placeOf(a)
		if !s.may(cred.Redact(tok), at.path) {
			return answer(403, `{"errors":["permission denied"]}`), nil
		}
		ans := s.answer(a, at)
		ans.Token = cred.Redact(tok)
		return ans, nil
	}
}

func (s *kv) answer(a *exchange.Ask, at place) *exchange.Answer {
	if !exchange.Reads(a.Method) {
		name := strings.TrimPrefix(at.path, "secret/data/")
		s.versions[name] = append(s.versions[name], version{string(a.Body), time.Now()})
		return answer(200, `{"request_id":"w","lease_id":"","data":{"version":1},"mount_type":"kv"}`)
	}
	name, ok := strings.CutPrefix(at.path, "secret/data/")
	v := s.versions[name]
	if !ok || len(v) == 0 {
		return answer(404, `{"errors":[]}`)
	}
	n := len(v)
	if _, err := fmt.Sscanf(a.Query, "version=%d", &n); err == nil && (n < 1 || n > len(v)) {
		return answer(404, `{"errors":[]}`)
	}
	mount := `,"mount_type":"kv"`
	if s.silent {
		mount = ""
	}
	return answer(200, fmt.Sprintf(
		`{"request_id":"r%d","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"v":%q},"metadata":{"created_time":%q,"custom_metadata":null,"deletion_time":"","destroyed":false,"version":%d}},"wrap_info":null,"warnings":null,"auth":null%s}`,
		s.reads.Load(), v[n-1].value, v[n-1].created.Format(time.RFC3339Nano), n, mount))
}

func (s *kv) Metadata(ctx context.Context, tok cred.Redacted, namespace, path string) (*cred.Secret, error) {
	s.metas.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.delay > 0 {
		<-ctx.Done()
		return nil, &vault.Error{Kind: vault.ErrUnreachable, Cause: ctx.Err()}
	}
	if s.status != 0 {
		return nil, &vault.Error{Kind: vault.ErrServer, Status: s.status}
	}
	if s.down != nil {
		return nil, s.down
	}
	name, ok := strings.CutPrefix(path, "secret/metadata/")
	if !ok || s.blind || s.denied[tok.Reveal()] {
		return nil, &vault.Error{Kind: vault.ErrDenied, Op: "read", Path: path, Status: 403}
	}
	out := &cred.Secret{Data: map[string]any{"current_version": len(s.versions[name]), "custom_metadata": nil}}
	all := map[string]any{}
	for i, v := range s.versions[name] {
		all[fmt.Sprint(i+1)] = map[string]any{"created_time": v.created.Format(time.RFC3339Nano), "deletion_time": "", "destroyed": false}
	}
	out.Data["versions"] = all
	return out, nil
}

func (s *kv) Capabilities(ctx context.Context, tok cred.Redacted, namespace string, paths []string) (map[string][]string, error) {
	s.caps.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.capPaths = append(s.capPaths, paths...)
	if s.down != nil {
		return nil, s.down
	}
	if s.denied[tok.Reveal()] {
		return nil, &vault.Error{Kind: vault.ErrInvalidToken, Status: 403}
	}
	if s.tight {
		return nil, &vault.Error{Kind: vault.ErrDenied, Status: 403}
	}
	out := map[string][]string{}
	for _, p := range paths {
		out[p] = []string{"read", "list"}
		if !s.may(tok, p) {
			out[p] = []string{"deny"}
		}
	}
	return out, nil
}

func (s *kv) Mount(ctx context.Context, tok cred.Redacted, namespace, path string) (vault.Mount, error) {
	s.mounts.Add(1)
	if !strings.HasPrefix(path, "secret/") {
		return vault.Mount{Path: "other/", Type: "transit"}, nil
	}
	return vault.Mount{Path: "secret/", Type: "kv", KV2: true}, nil
}

func (s *kv) Lookup(_ context.Context, tok cred.Redacted, _ string) (cred.Token, error) {
	s.lookups.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return cred.Token{}, s.down
	}
	info, known := s.tokens[tok.Reveal()]
	if !known && s.denied[tok.Reveal()] {
		return cred.Token{}, &vault.Error{Kind: vault.ErrDenied, Status: 403}
	}
	info.Value = tok
	return info, nil
}

func (s *kv) RenewToken(context.Context, cred.Redacted, string) (cred.Lease, error) {
	return cred.Lease{}, &vault.Error{Kind: vault.ErrDenied, Status: 403}
}

func (s *kv) RenewLease(context.Context, cred.Redacted, string, string, time.Duration) (cred.Lease, error) {
	return cred.Lease{}, &vault.Error{Kind: vault.ErrDenied, Status: 403}
}

var unreachable = &vault.Error{Kind: vault.ErrUnreachable, Op: "read", Path: "x"}

// bench is a cache before a kv.
type bench struct {
	t *testing.T
	*kv
	*Cache
}

func newBench(t *testing.T, o Options) *bench {
	s := newKV()
	o.Server = s
	if o.Static.TTL == 0 {
		o.Static.TTL = time.Minute
	}
	if o.Static.Stale == 0 {
		o.Static.Stale = time.Hour
	}
	return &bench{t, s, New(o)}
}

// keep runs Keep beside a test, until the returned function is called.
func (b *bench) keep() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Keep(ctx)
	}()
	return func() { cancel(); <-done }
}

// get is a request with a client's own token.
func get(tok, path string) *exchange.Ask {
	p, q, _ := strings.Cut(path, "?")
	return &exchange.Ask{Method: "GET", Path: "/v1/" + p, Query: q, Who: exchange.Who{Token: cred.Redact(tok)},
		Header: http.Header{"User-Agent": {"test"}, "X-Vault-Request": {"true"}}}
}

func put(tok, path, body string) *exchange.Ask {
	a := get(tok, path)
	a.Method, a.Body = "PUT", []byte(body)
	return a
}

// ask is what the proxy does with a request.
func (b *bench) ask(a *exchange.Ask) (*exchange.Answer, error) {
	if ans, ok := b.Look(a); ok {
		return ans, nil
	}
	tok := a.Who.Token.Reveal()
	if a.Who.Lent != "" {
		tok = "lent-" + a.Who.Lent
	}
	return b.Do(context.Background(), a, b.fetch(a, tok))
}

// want asks and looks at status, origin and what the body holds.
func (b *bench) want(a *exchange.Ask, status int, from exchange.From, holds string) {
	b.t.Helper()
	ans, err := b.ask(a)
	if err != nil {
		b.t.Fatalf("%s: %v", a.Path, err)
	}
	if ans.Status != status || ans.From != from || !bytes.Contains(ans.Body, []byte(holds)) {
		b.t.Fatalf("%s: %d %q %s, want %d %q with %q", a.Path, ans.Status, ans.From, ans.Body, status, from, holds)
	}
}
