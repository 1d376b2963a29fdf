//go:build linux

package e2e

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/lambdatest"
	"latchkey/internal/lambdatest/task"
	"latchkey/internal/vaulttest"
)

// lambdaStarts are starts that go well.
var lambdaStarts = map[string]func(*lambdaScene){
	"a function has its file before its own code runs, and the proxy": func(s *lambdaScene) {
		e := s.start(s.options(s.usual(
			"LAMBDATEST_INIT_READ="+s.file, "LAMBDATEST_INIT=get=http://"+s.listen+"/v1/"+s.path,
		)...))
		s.inits(e)
		files := s.do(e, task.Task{Do: "init"}).Files
		if f := files[s.file]; f.Error != "" || f.Mode != "0600" || secretIn(s.T, f.Text) != "one" {
			s.Errorf("at init the file was %+v", f)
		}
		if got := files["get"]; got.Status != 200 || secretIn(s.T, got.Text) != "one" {
			s.Errorf("at init the proxy said %+v", got)
		}
		if s.reads(e) != "one" || s.logins() != 1 {
			s.Errorf("%d logins", s.logins())
		}
		s.gently(e.Shutdown("spindown"))
	},
	"with the proxy alone, a request of the function's static code waits for the login": func(s *lambdaScene) {
		s.Front.Rude(vaulttest.Match{Method: "PUT", Path: "auth/" + s.mount + "/login"}, vaulttest.Rudeness{Times: 1, Delay: time.Second})
		e := s.start(s.options(s.usual("VAULT_SECRET_PATH", "VAULT_SECRET_FILE", "LAMBDATEST_INIT=get=http://"+s.listen+"/v1/"+s.path)...))
		s.inits(e)
		if got := s.do(e, task.Task{Do: "init"}).Files["get"]; got.Status != 200 || secretIn(s.T, got.Text) != "one" {
			s.Errorf("at init the proxy said %+v", got)
		}
		if s.logins() != 1 {
			s.Errorf("%d logins", s.logins())
		}
	},
	"the file has the shape that vault-lambda-extension writes": func(s *lambdaScene) {
		e := s.start(s.options(s.usual()...))
		s.inits(e)
		text := s.do(e, task.Task{Do: "read", Path: s.file}).Text
		var shape map[string]any
		if err := json.Unmarshal([]byte(text), &shape); err != nil {
			s.Fatal(err)
		}
		for _, key := range []string{"request_id", "lease_id", "lease_duration", "renewable", "data", "warnings"} {
			if _, ok := shape[key]; !ok {
				s.Errorf("no %s in %s", key, text)
			}
		}
		if !strings.HasPrefix(text, "{\n  \"request_id\": ") || strings.HasSuffix(text, "\n") {
			s.Errorf("not indented as there: %q", text)
		}
	},
	"several files, relative and absolute, with a mode": func(s *lambdaScene) {
		o := s.options(s.usual("VAULT_SECRET_PATH", "VAULT_SECRET_FILE",
			"VAULT_SECRET_PATH_A="+s.path, "VAULT_SECRET_FILE_A=/tmp/deep/er/a.json",
			"VAULT_SECRET_PATH_B="+s.path, "VAULT_SECRET_FILE_B=rel/b.json", "LATCHKEY_FILE_MODE=0640")...)
		o.Private = true // relative ones are below /tmp/vault
		e := s.start(o)
		s.inits(e)
		for _, path := range []string{"/tmp/deep/er/a.json", "/tmp/vault/rel/b.json"} {
			if a := s.do(e, task.Task{Do: "read", Path: path}); a.Mode != "0640" || secretIn(s.T, a.Text) != "one" {
				s.Errorf("%s: %+v", path, a)
			}
		}
	},
	"neither a file nor a token, only the proxy": func(s *lambdaScene) {
		e := s.start(s.options(s.usual("VAULT_SECRET_PATH", "VAULT_SECRET_FILE", "VAULT_RUN_MODE=Proxy")...))
		s.inits(e)
		s.reads(e)
		if left, _ := os.ReadDir(s.tmp); len(left) != 0 {
			s.Errorf("it left %v", left)
		}
	},
	"only files, and no proxy": func(s *lambdaScene) {
		e := s.start(s.options(s.usual("VAULT_RUN_MODE=FILE")...))
		s.inits(e)
		if s.inFile(e) != "one" {
			s.Error("another file")
		}
		if a := s.do(e, s.get(s.path)); a.Status != 0 {
			s.Errorf("somebody answers: %+v", a)
		}
	},
	"the extension may have any name": func(s *lambdaScene) {
		o := s.options(s.usual()...)
		o.Name = "my-secrets.v2"
		e := s.start(o)
		s.inits(e)
		s.gently(e.Shutdown("spindown"))
	},
	"provisioned concurrency": func(s *lambdaScene) {
		o := s.options(s.usual()...)
		o.InitType = lambdatest.Provisioned
		e := s.start(o)
		s.inits(e)
		s.reads(e)
	},
	"invocations are silent, and the start says where the secrets are": func(s *lambdaScene) {
		e := s.start(s.options(s.usual()...))
		s.inits(e)
		s.reads(e)
		before := e.Logs("latchkey-extension")
		if !strings.Contains(before, s.file) || !strings.Contains(before, s.listen) {
			s.Errorf("the log does not say where: %s", before)
		}
		if s.rie != "" {
			return // it says something at each invocation, and nobody can tell whose words are whose
		}
		for range 3 {
			s.reads(e)
		}
		if after := e.Logs("latchkey-extension"); after != before {
			s.Errorf("it says more: %s", strings.TrimPrefix(after, before))
		}
	},
	"the log is JSON when the function's is": func(s *lambdaScene) {
		e := s.ours(s.options(s.usual("AWS_LAMBDA_LOG_FORMAT=JSON", "AWS_LAMBDA_LOG_LEVEL=DEBUG")...))
		s.inits(e)
		e.Shutdown("spindown")
		n := 0
		for line := range strings.Lines(e.Logs("latchkey-extension")) {
			var words map[string]any
			if err := json.Unmarshal([]byte(line), &words); err != nil {
				s.Errorf("%v: %s", err, line)
			}
			n++
		}
		if n < 2 {
			s.Errorf("%d lines at DEBUG", n)
		}
		quiet := s.ours(s.options(s.usual("AWS_LAMBDA_LOG_LEVEL=ERROR")...))
		s.inits(quiet)
		if said := quiet.Logs("latchkey-extension"); said != "" {
			s.Errorf("at ERROR it says %s", said)
		}
	},
	"a start on 128 MB": func(s *lambdaScene) {
		if err := lambdatest.HasCGroups(true, true); err != nil {
			s.Skip(err)
		}
		o := s.options(s.usual()...)
		o.CPU, o.Freezer = 128./lambdatest.VCPU, lambdatest.CGroup
		e := s.ours(o)
		r := s.inits(e)
		s.reads(e)
		s.Logf("registered after %s, ready after %s", r.ExtensionRegisteredAfter, r.Duration)
	},
	"only the events that it needs, and next at once": func(s *lambdaScene) {
		p := s.ours(s.options(s.usual()...))
		s.inits(p)
		s.reads(p)
		p.Shutdown("spindown")
		var names []string
		for _, c := range p.Calls() {
			if c.From == "latchkey-extension" {
				names = append(names, c.Name+" "+c.Event)
			}
		}
		if got, want := strings.Join(names, ", "), "register , event/next INVOKE, event/next INVOKE, event/next SHUTDOWN"; got != want {
			s.Errorf("it called %s", got)
		}
	},
	"a shutdown revokes the token when asked to": func(s *lambdaScene) {
		e := s.start(s.options(s.usual("LATCHKEY_REVOKE_ON_SHUTDOWN=true")...))
		s.inits(e)
		token := s.accessors()
		s.gently(e.Shutdown("spindown"))
		if s.Front.Count("PUT", "auth/token/revoke-self") != 1 {
			s.Error("it was not asked to")
		}
		s.over(token)
	},
	"a shutdown ends though the server does not answer": func(s *lambdaScene) {
		e := s.start(s.options(s.usual("LATCHKEY_REVOKE_ON_SHUTDOWN=true")...))
		s.inits(e)
		s.Front.Rude(vaulttest.Match{Path: "auth/token/revoke-self"}, vaulttest.Rudeness{Hang: true})
		ended := e.Shutdown("spindown")
		s.gently(ended)
		// It has a quarter of a second for the revocation; the rest is for machines
		// that do much beside.
		if ended[0].Took > 1500*time.Millisecond {
			s.Errorf("it took %s", ended[0].Took)
		}
	},
	"who polls for events does not give up in a long invocation": func(s *lambdaScene) {
		p := s.ours(s.options(s.usual()...))
		s.inits(p)
		s.do(p, task.Task{Do: "sleep", MS: 3000})
		s.reads(p)
		n := 0
		for _, c := range p.Calls() {
			if c.Name == "event/next" {
				n++
			}
		}
		if n != 4 {
			s.Errorf("%d calls of event/next for three invocations", n)
		}
	},
}

// Nothing is changed but the layer: the names, the port and the paths of
// vault-lambda-extension, whose test this is (its compose file has a role with
// ten seconds, and reads for twenty).
func TestALayerIsAllThatChanges(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:8200")
	if err != nil {
		t.Skip("somebody listens on 8200")
	}
	_ = l.Close()
	s := newLambdaScene(t, "")
	s.role(vaulttest.Map{"token_ttl": "2s", "token_max_ttl": "5s"})
	o := s.options(
		"VAULT_ADDR="+s.Addr, "VAULT_AUTH_PROVIDER="+s.mount, "VAULT_AUTH_ROLE=app", "VAULT_SECRET_PATH="+s.path,
		"VAULT_SECRET_PATH_DB="+s.path, "VAULT_SECRET_FILE_DB=/tmp/vault/db.json", "VAULT_TOKEN_EXPIRY_GRACE_PERIOD=100ms",
	)
	o.Private, o.Name = true, "vault-lambda-extension"
	p := s.ours(o)
	s.listen = "127.0.0.1:8200"
	if p.Init().ReportedType == "Extension.ListenFailed" {
		t.Skip("somebody listens on 8200 now")
	}
	s.inits(p)
	for _, path := range []string{"/tmp/vault/secret.json", "/tmp/vault/db.json"} {
		if a := s.do(p, task.Task{Do: "read", Path: path}); secretIn(t, a.Text) != "one" {
			t.Errorf("%s: %+v", path, a)
		}
	}
	s.eventually("a renewal, and a login when that is over", func() bool {
		s.reads(p)
		return s.logins() > 1 && s.Front.Count("PUT", "auth/token/renew-self") > 0
	})
	s.gently(p.Shutdown("spindown"))
}

// Fifty environments that start at once log in fifty times, and each function has
// its secret; a server that says "later" to the first of them is heard.
func TestFiftyColdStartsAtOnce(t *testing.T) {
	s := newLambdaScene(t, "")
	s.Front.Rude(vaulttest.Match{Method: "PUT", Path: "auth/" + s.mount + "/login"}, vaulttest.Rudeness{Times: 10, Status: 429, RetryAfter: time.Second})
	const n = 50
	var all sync.WaitGroup
	began := make(chan struct{})
	for range n {
		one := *s
		one.tmp, one.listen = t.TempDir(), lambdaAddress(t)
		one.file = filepath.Join(one.tmp, "secret.json")
		o := one.options(one.usual()...)
		o.InitLimit = time.Minute
		all.Go(func() {
			<-began
			p := lambdatest.Start(t, o)
			if f := p.Init().Fault; f != nil {
				t.Errorf("%v %s", f, p.Init().ReportedBody)
				return
			}
			r, err := p.Invoke(one.get(one.path))
			var a task.Answer
			if err != nil || r.Into(&a) != nil || a.Status != 200 {
				t.Errorf("%v %+v", err, a)
			}
			p.Shutdown("spindown")
		})
	}
	close(began)
	all.Wait()
	if got := s.logins(); got != n+10 {
		t.Errorf("%d logins, with the ten that were put off", got)
	}
}
