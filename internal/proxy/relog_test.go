package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/vault"
)

// renewer is an identity that can log in anew when it is asked to.
type renewer struct {
	identity
	asked atomic.Int64
}

func (r *renewer) Renewed(ctx context.Context) (cred.Redacted, error) {
	r.asked.Add(1)
	tok, err := r.Token(ctx)
	if err != nil {
		return tok, err
	}
	return r.Replace(ctx, tok)
}

func TestAClientThatGivesALentTokenUpGetsANewLogin(t *testing.T) {
	own := []string{"X-Vault-Token", "hvs.own-0123456789"}
	for _, c := range []struct {
		name    string
		lend    Lend
		headers []string
		renewed bool
		sent    string // the header, as the server sees it
		token   string
	}{
		{"nothing said", LendYes, nil, false, "", canary},
		{"revoke", LendYes, []string{"X-Vault-Token-Options", "revoke"}, true, "", canary + "-2"},
		{"in any case", LendYes, []string{"x-vault-token-options", " Revoke "}, true, "", canary + "-2"},
		{"in a list", LendYes, []string{"X-Vault-Token-Options", "x, revoke"}, true, "", canary + "-2"},
		{"another word", LendYes, []string{"X-Vault-Token-Options", "revoked"}, false, "revoked", canary},
		{"with its own token", LendYes, append([]string{"X-Vault-Token-Options", "revoke"}, own...), false, "revoke", own[1]},
		{"with its own token, which is dropped", LendForce, append([]string{"X-Vault-Token-Options", "revoke"}, own...), true, "", canary + "-2"},
		{"nothing is lent", LendNo, []string{"X-Vault-Token-Options", "revoke"}, false, "revoke", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &renewer{identity: identity{tokens: []string{canary, canary + "-2", canary + "-3"}}}
			b := set(t, asJSON(200, `{}`), func(o *Options, _ *vault.Config) { o.Lend, o.Identity = c.lend, r })
			if resp, _ := b.ask(t, "GET", "/v1/secret/data/app", "", c.headers...); resp.StatusCode != 200 {
				t.Fatal(resp.StatusCode)
			}
			got := b.last(t).header
			if (r.asked.Load() == 1) != c.renewed || got.Get("X-Vault-Token-Options") != c.sent || got.Get("X-Vault-Token") != c.token {
				t.Errorf("renewed %d times, sent %q with %q", r.asked.Load(), got.Get("X-Vault-Token-Options"), got.Get("X-Vault-Token"))
			}
		})
	}
}

func TestAnIdentityThatCannotLogInAnewLeavesTheHeaderAlone(t *testing.T) {
	b := set(t, asJSON(200, `{}`), nil)
	b.ask(t, "GET", "/v1/secret/data/app", "", "X-Vault-Token-Options", "revoke")
	if got := b.last(t).header; got.Get("X-Vault-Token-Options") != "revoke" || got.Get("X-Vault-Token") != canary {
		t.Error(got)
	}
}

func TestANewLoginThatFailsIsTheClientsToSee(t *testing.T) {
	r := &renewer{identity: identity{tokens: []string{canary}, err: &vault.Error{Kind: vault.ErrNotLoggedIn, Cause: errors.New("no")}}}
	b := set(t, asJSON(200, `{}`), func(o *Options, _ *vault.Config) { o.Identity = r })
	resp, _ := b.ask(t, "GET", "/v1/secret/data/app", "", "X-Vault-Token-Options", "revoke")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || len(b.requests()) != 0 {
		t.Error(resp.StatusCode, resp.Header, b.requests())
	}
}

// seeing is a cache that notes which headers it is shown.
type seeing struct {
	strict
	shown []http.Header
}

func (s *seeing) Look(a *exchange.Ask) (*exchange.Answer, bool) {
	s.mu.Lock()
	s.shown = append(s.shown, a.Header)
	s.mu.Unlock()
	return s.strict.Look(a)
}

func TestTheCacheIsAskedAfterTheNewLoginAndDoesNotSeeWhy(t *testing.T) {
	r := &renewer{identity: identity{tokens: []string{canary, canary + "-2"}}}
	s := &seeing{strict: strict{kept: map[string]*exchange.Answer{}}}
	b := set(t, asJSON(200, `{}`), func(o *Options, _ *vault.Config) { o.Identity, o.Cache = r, s })
	for said, want := range map[string]string{
		"": "nocache", "x": "x,nocache", "cache": "cache,recache", "recache": "recache,recache", "nocache": "nocache,nocache",
	} {
		s.shown = nil
		headers := []string{"X-Vault-Token-Options", "revoke"}
		if said != "" {
			headers = append(headers, "X-Vault-Cache-Control", said)
		}
		b.ask(t, "GET", "/v1/secret/data/app", "", headers...)
		if len(s.shown) != 1 || s.shown[0]["X-Vault-Token-Options"] != nil || strings.Join(s.shown[0]["X-Vault-Cache-Control"], ",") != want {
			t.Errorf("%q: %v", said, s.shown)
		}
		if got := b.last(t).header; got["X-Vault-Cache-Control"] != nil {
			t.Error(got)
		}
	}
}

// What is asked of the cache is for the cache.
func TestTheCachesHeaderGoesNoFurther(t *testing.T) {
	b := set(t, asJSON(200, `{}`), nil)
	for _, word := range []string{"cache", "recache", "nocache"} {
		b.ask(t, "GET", "/v1/secret/data/app", "", "X-Vault-Cache-Control", word)
		if got := b.last(t).header; got["X-Vault-Cache-Control"] != nil {
			t.Error(word, got)
		}
	}
}

func TestTextIsHeldForWhoAsksForItToBeCached(t *testing.T) {
	s := &strict{kept: map[string]*exchange.Answer{}}
	b := set(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = io.WriteString(w, "-----BEGIN CERTIFICATE-----")
	}, func(o *Options, _ *vault.Config) { o.Cache = s })
	for i, want := range []string{"MISS", "HIT"} {
		resp, body := b.ask(t, "GET", "/v1/pki/ca/pem", "", "X-Vault-Cache-Control", "cache")
		if resp.Header.Get("X-Cache") != want || body != "-----BEGIN CERTIFICATE-----" {
			t.Errorf("%d: %v %q", i, resp.Header, body)
		}
	}
}

// Whoever hangs up, at whatever point, leaves nothing behind.
func TestAClientThatHangsUpLeavesNothingBehind(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	for name, c := range map[string]struct {
		identity func() Identity
		upstream func(t *testing.T, w http.ResponseWriter, r *http.Request)
		headers  []string
	}{
		"in a login": {identity: func() Identity { return &identity{tokens: []string{canary}, wait: never} }},
		"in a new login": {
			identity: func() Identity { return &renewer{identity: identity{tokens: []string{canary}, wait: never}} },
			headers:  []string{"X-Vault-Token-Options", "revoke"},
		},
		"before an answer": {upstream: func(_ *testing.T, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		"within an answer": {upstream: func(_ *testing.T, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"data":`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}},
		"between two tries": {upstream: func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(503)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			came, left := make(chan struct{}, 9), make(chan struct{}, 9)
			b := set(t, func(w http.ResponseWriter, r *http.Request) {
				came <- struct{}{}
				defer func() { left <- struct{}{} }()
				c.upstream(t, w, r)
			}, func(o *Options, _ *vault.Config) {
				o.Patience, o.Retry.Attempts, o.Retry.Base, o.Retry.Max = time.Hour, 5, time.Minute, time.Minute
				o.Cache = &fleeting{strict{kept: map[string]*exchange.Answer{}}}
				if c.identity != nil {
					o.Identity = c.identity()
				}
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := request("GET", "/v1/secret/data/app").WithContext(ctx)
			for i := 0; i < len(c.headers); i += 2 {
				r.Header.Set(c.headers[i], c.headers[i+1])
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }() // how half an answer ends
				b.handler.ServeHTTP(httptest.NewRecorder(), r)
			}()
			if c.upstream != nil {
				<-came
			}
			cancel()
			<-done
			if c.upstream != nil {
				<-left
			}
			if n := len(b.requests()); c.upstream == nil && n != 0 || c.upstream != nil && n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// fleeting is a cache that has nothing and whose flights end with who began them.
type fleeting struct{ strict }

func (*fleeting) Do(ctx context.Context, _ *exchange.Ask, fetch exchange.Fetch) (*exchange.Answer, error) {
	return fetch(ctx)
}

// stopped is a connection with which the process stands still for an hour, once.
type stopped struct {
	net.Conn
	once *sync.Once
	lost bool
}

func (s *stopped) Write(p []byte) (int, error) {
	s.once.Do(func() {
		s.lost = true
		time.Sleep(time.Hour)
	})
	if s.lost {
		return len(p), nil
	}
	return s.Conn.Write(p)
}

// The token that a request was about to be sent with is over when the process goes on.
func TestARequestThatWasFrozenForAnHourIsAnsweredWithANewToken(t *testing.T) {
	for _, cached := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			conns, closing := make(chan net.Conn), make(chan struct{})
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if r.Header.Get("X-Vault-Token") == canary {
					w.WriteHeader(403)
					_, _ = io.WriteString(w, `{"errors":["permission denied","invalid token"]}`)
					return
				}
				_, _ = io.WriteString(w, `{"data":{"by":"`+strings.TrimPrefix(r.Header.Get("X-Vault-Token"), canary)+`"}}`)
			})}
			var served sync.WaitGroup
			served.Go(func() { _ = srv.Serve(&lane{conns, closing, sync.Once{}}) })
			defer served.Wait()
			defer srv.Close()
			once := new(sync.Once)
			c, err := vault.New(vault.Config{Address: "http://127.0.0.1:8200", Timeout: 5 * time.Second, Dial: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				conns <- theirs
				return &stopped{Conn: ours, once: once}, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			o := Options{Client: c, Lend: LendYes, Identity: &identity{tokens: []string{canary, canary + "-2"}}}
			if cached {
				o.Cache = &strict{kept: map[string]*exchange.Answer{}}
			}
			w := httptest.NewRecorder()
			Handler(o).ServeHTTP(w, request("GET", "/v1/secret/data/app"))
			if w.Code != 200 || w.Body.String() != `{"data":{"by":"-2"}}` {
				t.Error(w.Code, w.Body)
			}
		})
	}
}

// lane is a listener for connections in memory.
type lane struct {
	conns   chan net.Conn
	closing chan struct{}
	once    sync.Once
}

func (l *lane) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closing:
		return nil, net.ErrClosed
	}
}
func (l *lane) Close() error   { l.once.Do(func() { close(l.closing) }); return nil }
func (l *lane) Addr() net.Addr { return &net.TCPAddr{} }
