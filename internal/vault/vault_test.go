package vault

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/cred"
)

const canary = "hvs.CANARY-token"

// serve starts a server that answers every request with h.
func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func answers(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestKindsOfError(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		kind   error
		temp   bool
	}{
		{400, `{"errors":["invalid role or secret ID"]}`, ErrBadRequest, false},
		{401, `{"errors":["no"]}`, ErrDenied, false},
		{403, `{"errors":["permission denied"]}`, ErrDenied, false},
		{403, `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`, ErrInvalidToken, false},
		{404, `{"errors":[]}`, ErrNotFound, false},
		{405, `{"errors":["unsupported operation"]}`, ErrBadRequest, false},
		{412, `{"errors":["required index state not present"]}`, ErrNotReady, true},
		{429, `{"errors":["request path: rate limit quota exceeded"]}`, ErrRateLimited, true},
		{472, `{}`, ErrNotReady, true},
		{473, `{}`, ErrNotReady, true},
		{500, `{"errors":["internal error"]}`, ErrServer, true},
		{501, `{"errors":["not implemented"]}`, ErrBadRequest, false},
		{502, `<html>bad gateway</html>`, ErrServer, true},
		{503, `{"errors":["Vault is sealed"]}`, ErrSealed, true},
		{200, `<html>hello</html>`, ErrServer, true},
		{200, `{"data": {"a": `, ErrServer, true},
	} {
		t.Run(fmt.Sprint(c.status, " ", c.body), func(t *testing.T) {
			s := serve(t, answers(c.status, c.body))
			_, err := client(t, Config{Address: s.URL}).Read(t.Context(), "secret/x", nil)
			if !errors.Is(err, c.kind) {
				t.Errorf("error %v is not %v", err, c.kind)
			}
			if Temporary(err) != c.temp {
				t.Errorf("Temporary(%v) = %v", err, !c.temp)
			}
			if !strings.Contains(err.Error(), "secret/x") {
				t.Errorf("error does not name the path: %v", err)
			}
		})
	}
	if !errors.Is(&Error{Kind: ErrInvalidToken}, ErrDenied) {
		t.Error("an invalid token is a denial")
	}
}

func TestNoAnswerIsUnreachableAndNamesTheAddress(t *testing.T) {
	closed := serve(t, answers(200, ""))
	closed.Close()
	half := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"data":`)
	})
	drop := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	hang := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for name, s := range map[string]*httptest.Server{"refused": closed, "half a body": half, "dropped": drop, "slow": hang} {
		t.Run(name, func(t *testing.T) {
			_, err := client(t, Config{Address: s.URL, Timeout: 50 * time.Millisecond}).As(cred.Redact(canary)).Read(t.Context(), "secret/x", nil)
			if !errors.Is(err, ErrUnreachable) || !Temporary(err) {
				t.Errorf("error is %v", err)
			}
			if !strings.Contains(err.Error(), s.URL) || strings.Contains(err.Error(), canary) {
				t.Errorf("error text: %v", err)
			}
		})
	}
}

func TestRequestCarriesWhatTheViewSays(t *testing.T) {
	var got *http.Request
	var body string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r.Clone(context.Background()), string(b)
		_, _ = io.WriteString(w, `{"data":{"a":"b"}}`)
	})
	c := client(t, Config{Address: s.URL + "/prefix/", Namespace: "/team/", Headers: map[string]string{"X-Extra": "1"}, UserAgent: "latchkey/test"})
	view := c.As(cred.Redact("tok")).Wrapping(90 * time.Second).Agent("special")
	if _, err := view.Write(t.Context(), "a/b c%", map[string]any{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"X-Vault-Token": "tok", "X-Vault-Namespace": "team/", "X-Vault-Wrap-Ttl": "90s", "X-Vault-Request": "true",
		"User-Agent": "special", "X-Extra": "1", "Content-Type": "application/json",
	}
	for k, v := range want {
		if got.Header.Get(k) != v {
			t.Errorf("header %s is %q, want %q", k, got.Header.Get(k), v)
		}
	}
	if got.Method != "PUT" || got.URL.Path != "/prefix/v1/a/b c%" || body != `{"k":"v"}` {
		t.Errorf("request is %s %s %s", got.Method, got.URL, body)
	}
	// The client the view came from is as it was.
	if _, err := c.Read(t.Context(), "x", url.Values{"version": {"2"}}); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"X-Vault-Token", "X-Vault-Wrap-Ttl", "Content-Type"} {
		if v := got.Header.Get(k); v != "" {
			t.Errorf("a plain view sends %s: %q", k, v)
		}
	}
	if got.Header.Get("User-Agent") != "latchkey/test" || got.URL.RawQuery != "version=2" {
		t.Errorf("request is %s %v", got.URL, got.Header)
	}
}

func TestServerWordsAreScrubbedOfOurSecrets(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.WriteHeader(400)
		fmt.Fprintf(w, `{"errors":[%q]}`, "you sent "+r.Header.Get("X-Vault-Token")+" and "+string(b))
	})
	_, err := client(t, Config{Address: s.URL}).As(cred.Redact(canary)).Write(t.Context(), "auth/x/login", map[string]any{"secret_id": "CANARY-secret-id"})
	if err == nil || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("error is %v", err)
	}
}

func TestTheRoleThatALoginNamesCanBeReadInTheAnswer(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400)
		fmt.Fprint(w, `{"errors":["entry for role payments not found, with CANARY-jwt"]}`)
	})
	body := map[string]any{"role": "payments", "jwt": "CANARY-jwt"}
	_, err := client(t, Config{Address: s.URL}).Login(t.Context(), "auth/jwt/login", body)
	if err == nil || !strings.Contains(err.Error(), "role payments not found") || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("a login: %v", err)
	}
	if _, err = client(t, Config{Address: s.URL}).Write(t.Context(), "kv/x", body); err == nil || strings.Contains(err.Error(), "payments") {
		t.Errorf("a secret that is called role: %v", err)
	}
}

func TestServerWordsAreScrubbedHoweverTheyRepeatIt(t *testing.T) {
	const quotedPassword = `CANARY "x" $y`
	for name, echo := range map[string]string{
		"a header":           "CANARY-header",
		"a nested value":     "CANARY-nested",
		"a list":             "CANARY-list",
		"a quotation":        fmt.Sprintf("%q", quotedPassword),
		"one begins another": "CANARY-nested-and-longer",
		"a line break":       "CANARY\nbroken",
	} {
		for _, status := range []int{400, 404, 200} {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{"you sent " + echo}, "warnings": []string{"you sent " + echo}, "data": map[string]any{}})
			})
			c := client(t, Config{Address: s.URL, Headers: map[string]string{"X-Key": "CANARY-header"}})
			got, err := c.Write(t.Context(), "kv/data/x", map[string]any{"data": map[string]any{
				"a": "CANARY-nested", "b": "CANARY-nested-and-longer", "c": []any{"CANARY-list"}, "d": quotedPassword, "e": "CANARY\nbroken",
			}})
			text := fmt.Sprint(err)
			if err == nil {
				text = fmt.Sprint(got.Warnings)
			}
			if strings.Contains(text, "CANARY") || strings.Contains(text, "longer") || !strings.Contains(text, "you sent") {
				t.Errorf("%s with %d: %s", name, status, text)
			}
		}
	}
}

func TestServerWordsCannotCommandATerminal(t *testing.T) {
	_, err := client(t, Config{Address: serve(t, answers(400, `{"errors":["a\u001b[2Jb\r\nc\u009bd"]}`)).URL}).Read(t.Context(), "x", nil)
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\r\n\u009b") {
		t.Errorf("error is %q", err)
	}
}

func TestAPasswordInAnAddressIsNotShown(t *testing.T) {
	for _, cfg := range []Config{
		{Address: "https://user:CANARY@ho st:8200"},
		{Address: "ftp://user:CANARY@host"},
		{Address: "https://host", ProxyAddress: "http://user:CANARY@ho st"},
		{Address: "https://host", ProxyAddress: "user:CANARY@host"},
	} {
		if _, err := New(cfg); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%+v: error %v", cfg, err)
		}
	}
}

func TestLogin(t *testing.T) {
	const good = `{"auth":{"client_token":"t","accessor":"a","policies":["p"],"lease_duration":60,"renewable":true,"token_type":"batch","num_uses":3,"metadata":{"role":"r"}}}`
	const wrapped = `{"wrap_info":{"token":"w","accessor":"wa","ttl":300,"creation_time":"2026-01-01T00:00:00Z","creation_path":"auth/x/login","wrapped_accessor":"a"}}`
	for _, c := range []struct {
		name, body string
		wrap       time.Duration
		want       string
	}{
		{"good", good, 0, ""},
		{"wrapped", wrapped, time.Minute, ""},
		{"no auth", `{"data":{"x":1}}`, 0, "no token"},
		{"empty token", `{"auth":{"client_token":""}}`, 0, "no token"},
		{"no content", ``, 0, "no token"},
		{"wrapping asked, not given", good, time.Minute, "no wrapping token"},
		{"wrapped unasked", wrapped, 0, "no token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, answers(200, c.body))
			tok, err := client(t, Config{Address: s.URL}).Wrapping(c.wrap).Login(t.Context(), "auth/x/login", map[string]any{})
			if c.want != "" {
				if !errors.Is(err, ErrNoToken) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.wrap > 0 {
				if tok.Wrap.Token.Reveal() != "w" || !tok.Value.Empty() || tok.Wrap.TTL != 5*time.Minute {
					t.Errorf("token is %+v", tok.Wrap)
				}
				return
			}
			if tok.Value.Reveal() != "t" || tok.Type != "batch" || tok.Uses != 3 || tok.Lease.Duration != time.Minute || !tok.Lease.Renewable || tok.Metadata["role"] != "r" {
				t.Errorf("token is %v %+v", tok, tok.Lease)
			}
		})
	}
}

func TestLookupSelfOfARootTokenWithoutTypeAndTTL(t *testing.T) {
	s := serve(t, answers(200, `{"data":{"id":"x","accessor":"acc","policies":["root"],"ttl":0}}`))
	tok, err := client(t, Config{Address: s.URL}).As(cred.Redact("x")).LookupSelf(t.Context())
	if err != nil || tok.Accessor != "acc" || tok.Lease.Duration != 0 || tok.Lease.Renewable {
		t.Errorf("%v %v", tok, err)
	}
}

func TestRedirect(t *testing.T) {
	active := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, `{"data":{"seen":%q}}`, r.Method+" "+r.Header.Get("X-Vault-Token")+" "+string(b))
	})
	standby := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, active.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	c := client(t, Config{Address: standby.URL}).As(cred.Redact("tok"))
	got, err := c.Write(t.Context(), "x", map[string]any{"a": 1})
	if err != nil || got.Data["seen"] != `PUT tok {"a":1}` {
		t.Errorf("%v %v", got, err)
	}
	stubborn := client(t, Config{Address: standby.URL, DisableRedirects: true})
	if _, err := stubborn.Read(t.Context(), "x", nil); !errors.Is(err, ErrServer) || !strings.Contains(err.Error(), "307 a redirect that is not followed, to "+active.URL) {
		t.Errorf("with redirects disabled: %v", err)
	}
	circle := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
	})
	if _, err := client(t, Config{Address: circle.URL}).Read(t.Context(), "x", nil); !errors.Is(err, ErrServer) || !strings.Contains(err.Error(), "another path") {
		t.Errorf("a circle: %v", err)
	}
}

func TestRedirectFromHTTPSToHTTPIsRefused(t *testing.T) {
	plain := serve(t, answers(200, `{"data":{}}`))
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL, http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	_, err := client(t, Config{Address: s.URL, SkipVerify: true}).As(cred.Redact(canary)).Read(t.Context(), "x", nil)
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error is %v", err)
	}
}

func TestAServerThatIsNotSafeToTalkToIsNotAskedAgain(t *testing.T) {
	secure := httptest.NewUnstartedServer(answers(200, `{"data":{}}`))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := serve(t, answers(200, `{"data":{}}`))
	_, plainPort, _ := net.SplitHostPort(plain.Listener.Addr().String())
	downgrade := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusTemporaryRedirect))
	t.Cleanup(downgrade.Close)
	start := func(conf *tls.Config) string {
		s := httptest.NewUnstartedServer(answers(200, `{"data":{}}`))
		s.Config.ErrorLog, s.TLS = log.New(io.Discard, "", 0), conf
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}
	asks := start(&tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12})
	old := start(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}) //nolint:gosec // that is the point
	_, securePort, _ := net.SplitHostPort(secure.Listener.Addr().String())
	for name, c := range map[string]struct {
		cfg  Config
		says string
	}{
		"unknown CA":           {Config{Address: secure.URL}, `it was issued by "O=Acme Co"`},
		"no TLS":               {Config{Address: "https://127.0.0.1:" + plainPort}, ""},
		"TLS, and we do not":   {Config{Address: "http://127.0.0.1:" + securePort}, "speaks https"},
		"sent to no TLS":       {Config{Address: downgrade.URL, SkipVerify: true}, ""},
		"no certificate of us": {Config{Address: asks, SkipVerify: true}, "see client_cert"},
		"TLS 1.1":              {Config{Address: old, SkipVerify: true}, "TLS 1.2"},
	} {
		_, err := client(t, c.cfg).Read(t.Context(), "x", nil)
		if !errors.Is(err, ErrInsecure) || Temporary(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := httptest.NewUnstartedServer(answers(200, `{"data":{"a":"b"}}`))
	s.Listener.Close()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s.Listener = l
	s.Start()
	defer s.Close()
	if got, err := client(t, Config{Address: "unix://" + path}).Read(t.Context(), "x", nil); err != nil || got.Data["a"] != "b" {
		t.Errorf("%v %v", got, err)
	}
	if _, err := client(t, Config{Address: "unix:///none"}).Read(t.Context(), "x", nil); err == nil || !strings.Contains(err.Error(), "read x: unix:///none: dial unix /none") {
		t.Errorf("a socket that is not there: %v", err)
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	dir := t.TempDir()
	for want, cfg := range map[string]Config{
		"not of the form":         {Address: "127.0.0.1:8200"},
		"names no socket":         {Address: "unix://"},
		"ca_cert: stat":           {Address: "https://h", CACert: filepath.Join(dir, "no.pem")},
		"both client cert":        {Address: "https://h", ClientCert: dir},
		"proxy address is not":    {Address: "https://h", ProxyAddress: "://"},
		`address "https:" is not`: {Address: "https://"},
		"there is no port 99999":  {Address: "http://u:pw@127.0.0.1:99999"},
		`header "bad header"`:     {Address: "https://h", Headers: map[string]string{"bad header": "1"}},
		`header "X-A" cannot`:     {Address: "https://h", Headers: map[string]string{"X-A": "a\r\nX-B: b"}},
		`header "X-Ü" cannot`:     {Address: "https://h", Headers: map[string]string{"X-Ü": "1"}},
		`namespace "a\nb" holds`:  {Address: "https://h", Namespace: "a\nb"},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v does not say %q", cfg, err, want)
		}
	}
}

func TestTheEnvironmentIsNotRead(t *testing.T) {
	t.Setenv("VAULT_TOKEN", canary)
	t.Setenv("VAULT_NAMESPACE", "env")
	t.Setenv("VAULT_HEADERS", "no json")
	t.Setenv("VAULT_CACERT", "/no/such/file")
	t.Setenv("VAULT_AGENT_ADDR", "http://127.0.0.1:1")
	var got http.Header
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header; _, _ = io.WriteString(w, `{"data":{}}`) })
	if _, err := client(t, Config{Address: s.URL}).Read(t.Context(), "x", nil); err != nil {
		t.Fatal(err)
	}
	if got.Get("X-Vault-Token") != "" || got.Get("X-Vault-Namespace") != "" {
		t.Errorf("headers %v come from the environment", got)
	}
}

func TestATimeToLiveThatMakesNoSense(t *testing.T) {
	for sent, want := range map[string]time.Duration{"-5": 0, "0": 0, "9223372036854775807": math.MaxInt64 / time.Second * time.Second} {
		s := serve(t, answers(200, `{"auth":{"client_token":"t","lease_duration":`+sent+`}}`))
		tok, err := client(t, Config{Address: s.URL}).Login(t.Context(), "auth/x/login", nil)
		if err != nil || tok.Lease.Duration != want {
			t.Errorf("%s: %v, %v", sent, tok.Lease.Duration, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "-3": 0, "99999999": 5 * time.Minute, "soon": 0,
		now.Add(30 * time.Second).Format(http.TimeFormat): 30 * time.Second, now.Add(-time.Hour).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(in, now); got != want {
			t.Errorf("Retry-After %q is %v, want %v", in, got, want)
		}
	}
}

func TestATokenFileThatHoldsMoreThanAToken(t *testing.T) {
	s := serve(t, answers(200, `{}`))
	_, err := client(t, Config{Address: s.URL}).As(cred.Redact(canary + "\nmore")).LookupSelf(t.Context())
	if !errors.Is(err, ErrInvalidToken) || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("error is %v", err)
	}
}

func TestMountAndCapabilitiesAndHealth(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/sys/internal/ui/mounts/secret/a/b", answers(200, `{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}`))
	mux.HandleFunc("/v1/sys/internal/ui/mounts/old/a", answers(200, `{"data":{"path":"old/","type":"kv","options":null}}`))
	mux.HandleFunc("/v1/sys/capabilities-self", answers(200, `{"data":{"a":["read"],"b":["deny"],"capabilities":["x"]}}`))
	mux.HandleFunc("/v1/sys/health", answers(200, `{"initialized":true,"sealed":true,"version":"1.21.0"}`))
	s := httptest.NewServer(mux)
	defer s.Close()
	c := client(t, Config{Address: s.URL})
	if m, err := c.Mount(t.Context(), "secret/a/b"); err != nil || m != (Mount{"secret/", "kv", true}) {
		t.Errorf("%+v %v", m, err)
	}
	if m, err := c.Mount(t.Context(), "old/a"); err != nil || m != (Mount{"old/", "kv", false}) {
		t.Errorf("%+v %v", m, err)
	}
	if got, err := c.Capabilities(t.Context(), []string{"a", "b"}); err != nil || fmt.Sprint(got) != "map[a:[read] b:[deny]]" {
		t.Errorf("%v %v", got, err)
	}
	if h, err := c.Health(t.Context()); err != nil || !h.Sealed || h.Version != "1.21.0" {
		t.Errorf("%+v %v", h, err)
	}
}

func TestARefusedLoginNamesTheRoleAndNotTheCredential(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"errors":["role \"webshop\" not found for canary.jwt.value"]}`)
	}))
	t.Cleanup(s.Close)
	c, err := New(Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Login(t.Context(), "auth/jwt/login", map[string]any{"role": "webshop", "jwt": "canary.jwt.value"})
	if err == nil || !strings.Contains(err.Error(), "webshop") || strings.Contains(err.Error(), "canary") {
		t.Error(err)
	}
}
