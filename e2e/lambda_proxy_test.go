//go:build linux

package e2e

import (
	"net/http"
	"strings"
	"time"

	"latchkey/internal/lambdatest/task"
	"latchkey/internal/vaulttest"
)

// lambdaProxied are requests through the proxy.
var lambdaProxied = map[string]func(*lambdaScene){
	"answers of the server come through unchanged": func(s *lambdaScene) {
		e := s.start(s.options(s.usual()...))
		s.inits(e)
		for path, want := range map[string]int{"secret/data/lambda/none": 404, "secret/data/lambda/forbidden": 403, "sys/health": 200} {
			a := s.do(e, s.get(path))
			if a.Status != want || want >= 400 && !strings.Contains(a.Text, `"errors"`) {
				s.Errorf("%s: %d %s", path, a.Status, a.Text)
			}
		}
		for _, status := range []int{500, 502} {
			stop := s.Front.Rude(vaulttest.Match{Path: "sys/leader"}, vaulttest.Rudeness{Status: status, Errors: []string{"as it is"}})
			if a := s.do(e, s.get("sys/leader")); a.Status != status || !strings.Contains(a.Text, "as it is") {
				s.Errorf("%d: %d %s", status, a.Status, a.Text)
			}
			stop()
		}
		// Writes too.
		write := s.get(s.path)
		write.Method, write.Body = http.MethodPost, `{"data":{"value":"three","password":"x"}}`
		if a := s.do(e, write); a.Status != 200 {
			s.Errorf("a write: %d %s", a.Status, a.Text)
		}
	},
	"a token that the function brings is the one that is used": func(s *lambdaScene) {
		e := s.start(s.options(s.usual()...))
		s.inits(e)
		if a := s.do(e, s.get(s.path, "X-Vault-Token: nobody's")); a.Status != 403 {
			s.Errorf("%d %s", a.Status, a.Text)
		}
		for _, r := range s.Front.Requests() {
			if len(r.Header.Values("X-Vault-Token")) > 1 {
				s.Error("two tokens in one request")
			}
		}
	},
	"a token that was revoked is replaced, and the request asked again": func(s *lambdaScene) {
		e := s.start(s.options(s.usual()...))
		s.inits(e)
		s.revoked()
		if s.reads(e) != "one" || s.logins() != 2 {
			s.Errorf("%d logins", s.logins())
		}
	},
	"what the role may not read costs no login": func(s *lambdaScene) {
		e := s.start(s.options(s.usual()...))
		s.inits(e)
		many := s.get("secret/data/lambda/forbidden")
		many.Times = 20
		if a := s.do(e, many); a.Statuses[403] != 20 {
			s.Errorf("%v", a.Statuses)
		}
		if s.logins() > 2 {
			s.Errorf("%d logins", s.logins())
		}
	},
	"X-Vault-Token-Options: revoke has the next login be a new one": func(s *lambdaScene) {
		e := s.start(s.options(s.usual()...))
		s.inits(e)
		s.reads(e, "X-Vault-Token-Options: revoke")
		s.reads(e)
		if s.logins() != 2 {
			s.Errorf("%d logins", s.logins())
		}
		for _, r := range s.Front.Requests() {
			if r.Header.Get("X-Vault-Token-Options") != "" {
				s.Error("the header was passed on")
			}
		}
	},
	"a namespace is added where the function names none": func(s *lambdaScene) {
		e := s.start(s.options(s.usual("VAULT_NAMESPACE=team")...))
		// This server knows no namespaces, and does not mind: see what it was sent.
		_, _ = e.Invoke(s.get(s.path))
		_, _ = e.Invoke(s.get(s.path, "X-Vault-Namespace: other"))
		seen := map[string]int{}
		for _, r := range s.Front.Requests() {
			seen[strings.Trim(r.Header.Get("X-Vault-Namespace"), "/")]++
		}
		if seen["team"] == 0 || seen[""] != 0 {
			s.Errorf("namespaces: %v", seen)
		}
	},
	"two functions' worth of requests at once are one login": func(s *lambdaScene) {
		e := s.start(s.options(s.usual("VAULT_SECRET_PATH", "VAULT_SECRET_FILE")...))
		many := s.get(s.path)
		many.Times, many.Parallel = 1000, 64
		if a := s.do(e, many); a.Statuses[200] != 1000 {
			s.Errorf("%v %s", a.Statuses, a.Error)
		}
		if s.logins() != 1 {
			s.Errorf("%d logins", s.logins())
		}
	},
	"as many at once when the token is over": func(s *lambdaScene) {
		e := s.start(s.options(s.usual()...))
		s.inits(e)
		s.revoked()
		many := s.get(s.path)
		many.Times, many.Parallel = 300, 64
		if a := s.do(e, many); a.Statuses[200] != 300 {
			s.Errorf("%v %s", a.Statuses, a.Error)
		}
		if s.logins() > 3 {
			s.Errorf("%d logins", s.logins())
		}
	},
	"who must show a token, a header, or may only read": func(s *lambdaScene) {
		e := s.start(s.options(s.usual("LATCHKEY_CALLER_TOKEN_ENV=MY_TOKEN", "MY_TOKEN=open-sesame",
			"LATCHKEY_REQUIRE_REQUEST_HEADER=true", "LATCHKEY_READ_ONLY=true", "LATCHKEY_ALLOW_PATHS=secret/data/*")...))
		s.inits(e)
		token, header := "X-Latchkey-Token: open-sesame", "X-Vault-Request: true"
		s.reads(e, token, header)
		for what, t := range map[string]task.Task{
			"no token": s.get(s.path, header), "another token": s.get(s.path, header, "X-Latchkey-Token: open"),
			"no header": s.get(s.path, token), "another path": s.get("sys/health", token, header),
		} {
			if a := s.do(e, t); a.Status/100 != 4 {
				s.Errorf("%s: %d %s", what, a.Status, a.Text)
			}
		}
		write := s.get(s.path, token, header)
		write.Method, write.Body = http.MethodPost, `{"data":{}}`
		if a := s.do(e, write); a.Status/100 != 4 {
			s.Errorf("a write: %d %s", a.Status, a.Text)
		}
		for _, r := range s.Front.Requests() {
			if r.Header.Get("X-Latchkey-Token") != "" {
				s.Error("the caller's token was passed on")
			}
		}
	},
	"nothing is kept unless asked for": func(s *lambdaScene) {
		e := s.start(s.options(s.usual("VAULT_SECRET_PATH", "VAULT_SECRET_FILE")...))
		for range 3 {
			s.reads(e, "X-Vault-Cache-Control: cache")
		}
		s.asked(3)
	},
	"the cache: what its header says": func(s *lambdaScene) {
		e := s.start(s.options(s.usual("VAULT_SECRET_PATH", "VAULT_SECRET_FILE", "VAULT_DEFAULT_CACHE_TTL=1h")...))
		asked := 0
		for n, one := range []struct {
			header string
			asks   bool
		}{
			{"", true},
			{"", true},
			{"cache", true},
			{"cache", false},
			{"CACHE", false},
			{"other, cache", false},
			{"recache", true},
			{"cache, recache", true},
			{"recache,cache", true},
			{"cache", false},
			{"nocache", true},
			{"cache, nocache", true},
			{"nocache,recache", true},
			{"unknown", true},
			{"cache", false},
		} {
			var header []string
			if one.header != "" {
				header = []string{"X-Vault-Cache-Control: " + one.header}
			}
			s.reads(e, header...)
			if one.asks {
				asked++
			}
			if got := s.Front.Count("GET", s.path); got != asked {
				s.Fatalf("step %d, %q: the server was asked %d times, not %d", n, one.header, got, asked)
			}
		}
		for _, r := range s.Front.Requests() {
			if r.Header.Get("X-Vault-Cache-Control") != "" {
				s.Error("the header was passed on")
			}
		}
	},
	"the cache: everything, without a header": func(s *lambdaScene) {
		e := s.start(s.options(s.usual("VAULT_SECRET_PATH", "VAULT_SECRET_FILE", "VAULT_DEFAULT_CACHE_TTL=1h", "VAULT_DEFAULT_CACHE_ENABLED=true")...))
		for range 3 {
			s.reads(e, "Traceparent: 00-"+strings.Repeat("a", 32)+"-"+strings.Repeat("b", 16)+"-01", "X-Amzn-Trace-Id: Root=1-"+time.Now().String())
		}
		s.asked(1)
		s.reads(e, "X-Vault-Cache-Control: nocache")
		s.asked(2)
		// Errors are not kept, and another path is another answer.
		for range 2 {
			s.do(e, s.get("secret/data/lambda/none"))
		}
		if n := s.Front.Count("GET", "secret/data/lambda/none"); n != 2 {
			s.Errorf("an error was kept: %d", n)
		}
		// A write through the proxy ends what was kept.
		write := s.get(s.path)
		write.Method, write.Body = http.MethodPost, `{"data":{"value":"three","password":"x"}}`
		s.do(e, write)
		if a := s.do(e, s.get(s.path)); !strings.Contains(a.Text, "three") {
			s.Errorf("after a write: %s", a.Text)
		}
	},
	"the cache: no longer than it says, frozen or not": func(s *lambdaScene) {
		e := s.start(s.options(s.usual("VAULT_SECRET_PATH", "VAULT_SECRET_FILE", "VAULT_DEFAULT_CACHE_TTL=1s", "VAULT_DEFAULT_CACHE_ENABLED=true")...))
		s.reads(e)
		s.write("two")
		s.eventually("the new value", func() bool { return s.reads(e) == "two" })
	},
	"the cache: no longer than the lease": func(s *lambdaScene) {
		mount := "plain-" + s.mount
		s.Mount(mount, "kv", vaulttest.Map{"version": "1"})
		s.WriteKV1(mount, "app", vaulttest.Map{"value": "one", "ttl": "1s"})
		s.Policy(s.policy, map[string][]string{mount + "/*": {"read"}})
		e := s.start(s.options(s.usual("VAULT_SECRET_PATH", "VAULT_SECRET_FILE", "VAULT_DEFAULT_CACHE_TTL=1h", "VAULT_DEFAULT_CACHE_ENABLED=true")...))
		s.do(e, s.get(mount+"/app"))
		s.WriteKV1(mount, "app", vaulttest.Map{"value": "two", "ttl": "1s"})
		s.eventually("the new value", func() bool { return strings.Contains(s.do(e, s.get(mount+"/app")).Text, `"two"`) })
	},
	"the cache: another token, another answer": func(s *lambdaScene) {
		e := s.start(s.options(s.usual("VAULT_SECRET_PATH", "VAULT_SECRET_FILE", "VAULT_DEFAULT_CACHE_TTL=1h", "VAULT_DEFAULT_CACHE_ENABLED=true")...))
		s.reads(e)
		if a := s.do(e, s.get(s.path, "X-Vault-Token: nobody's")); a.Status != 403 {
			s.Errorf("%d %s", a.Status, a.Text)
		}
		if a := s.do(e, s.get(s.path, "X-Vault-Token: "+s.Token)); a.Status != 200 {
			s.Errorf("%d %s", a.Status, a.Text)
		}
		s.asked(3)
	},
	"the cache after a freeze of two hours": func(s *lambdaScene) {
		p := s.skewed("VAULT_DEFAULT_CACHE_TTL=30m", "VAULT_DEFAULT_CACHE_ENABLED=true")
		s.inits(p)
		s.reads(p)
		s.write("two")
		if s.reads(p) != "one" {
			s.Error("nothing was kept")
		}
		s.hours(p, 2)
		if s.reads(p) != "two" {
			s.Error("it was kept for two hours")
		}
	},
	"a unix socket": func(s *lambdaScene) {
		socket := s.tmp + "/proxy.sock"
		p := s.ours(s.options(s.usual("LATCHKEY_LISTEN=unix://" + socket)...))
		s.inits(p)
		admin := vaulttest.NewAdmin(s.T, "http://localhost", "", nil, nil).Over(dialUnix(socket))
		p.Thaw()
		if a := admin.Do("GET", s.path, nil); a.Status != 200 {
			s.Errorf("%d", a.Status)
		}
	},
}

// asked wants the secret to have been asked for so often.
func (s *lambdaScene) asked(times int) {
	s.Helper()
	if got := s.Front.Count("GET", s.path); got != times {
		s.Errorf("the server was asked %d times, not %d", got, times)
	}
}
