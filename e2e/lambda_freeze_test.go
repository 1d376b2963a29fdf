//go:build linux

package e2e

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/lambdatest"
	"latchkey/internal/lambdatest/task"
	"latchkey/internal/vaulttest"
)

// lambdaFrozen are what becomes of tokens, files and connections while nothing
// runs, and of what was under way when the platform took the floor away.
var lambdaFrozen = map[string]func(*lambdaScene){
	"a token that ended while frozen is replaced inside the invocation": func(s *lambdaScene) {
		// Long enough for a login and a read on a busy machine.
		s.role(vaulttest.Map{"token_ttl": "3s", "token_max_ttl": "3s"})
		e := s.start(s.options(s.usual("VAULT_TOKEN_EXPIRY_GRACE_PERIOD=100ms")...))
		s.inits(e)
		for range 2 {
			before := s.logins()
			s.over(s.accessors())
			if s.reads(e) != "one" {
				s.Error("another value")
			}
			if s.logins() != before+1 {
				s.Errorf("%d logins for one end", s.logins()-before)
			}
		}
		for _, r := range s.Front.Requests() {
			if r.Status == 403 {
				s.Errorf("%s was asked with a token that was over", r.Path)
			}
		}
	},
	"frozen for two hours": func(s *lambdaScene) {
		p := s.skewed("LATCHKEY_REFRESH_INTERVAL=5m")
		s.inits(p)
		s.write("two")
		s.hours(p, 2)
		// The token had an hour. It is not asked for anything any more.
		old := s.Front.Requests()
		if s.reads(p) != "two" || s.logins() != 2 {
			s.Errorf("%d logins", s.logins())
		}
		for _, r := range s.Front.Requests()[len(old):] {
			if token := r.Header.Get("X-Vault-Token"); token != "" && token == old[len(old)-1].Header.Get("X-Vault-Token") {
				s.Errorf("%s was asked with the old token", r.Path)
			}
		}
		if got := s.inFile(p); got != "two" {
			s.Errorf("the file says %s", got)
		}
		// And the clock is set right again: nothing that has an end is believed to end later.
		s.hours(p, 0)
		s.reads(p)
	},
	"a token is renewed in good time, inside an invocation": func(s *lambdaScene) {
		p := s.skewed()
		s.inits(p)
		s.hours(p, 0.9)
		s.reads(p)
		if s.logins() != 1 || s.Front.Count("PUT", "auth/token/renew-self") != 1 {
			s.Errorf("%d logins, %d renewals", s.logins(), s.Front.Count("PUT", "auth/token/renew-self"))
		}
	},
	"a file is read again when it is due": func(s *lambdaScene) {
		e := s.start(s.options(s.usual("LATCHKEY_REFRESH_INTERVAL=1s")...))
		s.inits(e)
		s.write("two")
		s.eventually("the file's new value", func() bool { return s.inFile(e) == "two" })
	},
	"a file that cannot be read again stays": func(s *lambdaScene) {
		e := s.start(s.options(s.usual("LATCHKEY_REFRESH_INTERVAL=1s")...))
		s.inits(e)
		s.Front.Rude(vaulttest.Match{Path: s.path}, vaulttest.Rudeness{Status: 503, Errors: []string{"Vault is sealed"}})
		s.eventually("a try", func() bool {
			if s.inFile(e) != "one" {
				s.Fatal("the file is another")
			}
			return s.Front.Count("GET", s.path) > 2
		})
	},
	"connections that died while frozen": func(s *lambdaScene) {
		r := newRelay(s.T, strings.TrimPrefix(s.Addr, "http://"))
		e := s.start(s.options(s.usual("VLE_VAULT_ADDR=http://" + r.addr)...))
		s.inits(e)
		for range 3 {
			s.reads(e)
			r.cut()
		}
		if s.reads(e) != "one" {
			s.Error("another value")
		}
	},
	"connections that a network forgot while frozen": func(s *lambdaScene) {
		r := newRelay(s.T, strings.TrimPrefix(s.Addr, "http://"))
		p := s.skewed("VLE_VAULT_ADDR=http://" + r.addr)
		s.inits(p)
		s.reads(p)
		r.swallow()
		s.hours(p, 0.1)
		began := time.Now()
		s.reads(p)
		if took := time.Since(began); took > 5*time.Second {
			s.Errorf("it waited %s for a connection that is no more", took)
		}
	},
	"a function that runs out of time in the middle of a login": func(s *lambdaScene) {
		s.role(vaulttest.Map{"token_ttl": "1s", "token_max_ttl": "1s"})
		o := s.options(s.usual("VAULT_TOKEN_EXPIRY_GRACE_PERIOD=100ms")...)
		o.Timeout = 2 * time.Second
		p := s.ours(o)
		s.inits(p)
		s.over(s.accessors())
		stop := s.Front.Rude(vaulttest.Match{Method: "PUT", Path: "auth/" + s.mount + "/login"}, vaulttest.Rudeness{Hang: true})
		r, err := p.Invoke(task.Task{Do: "hang"})
		s.fault(err, lambdatest.Timeout)
		s.gently(r.Events)
		stop()
		if s.reads(p) != "one" || p.Inits() != 2 {
			s.Errorf("%d inits", p.Inits())
		}
	},
	"a request through the proxy hears of the end before the function does": func(s *lambdaScene) {
		o := s.options(s.usual()...)
		o.Timeout = 2 * time.Second
		e := s.start(o)
		s.inits(e)
		var err error
		// It has a tenth of a second to hear of it, which a busy machine may use up once.
		for range 3 {
			stop := s.Front.Rude(vaulttest.Match{Path: s.path}, vaulttest.Rudeness{Hang: true})
			var r lambdatest.Result
			r, err = e.Invoke(s.get(s.path))
			stop()
			if err != nil {
				continue
			}
			var a task.Answer
			if err := r.Into(&a); err != nil || a.Status < 500 || a.Longest > 2000 {
				s.Errorf("%v, after %.0f ms: %d %s", err, a.Longest, a.Status, a.Text)
			}
			s.reads(e)
			return
		}
		s.Fatal(err)
	},
	"frozen in the middle of a request": func(s *lambdaScene) {
		p := s.ours(s.options(s.usual()...))
		s.inits(p)
		done := make(chan task.Answer, 1)
		reached := make(chan struct{})
		var once sync.Once
		s.Front.Rude(vaulttest.Match{Path: s.path}, vaulttest.Rudeness{Times: 1, Do: func() { once.Do(func() { close(reached) }) }, Drop: true})
		go func() {
			r, err := p.Invoke(s.get(s.path))
			var a task.Answer
			if err != nil || r.Into(&a) != nil {
				s.Errorf("%v %s", err, r.Payload)
			}
			done <- a
		}()
		<-reached
		p.Freeze()
		// The connection is gone by the time that it thaws.
		s.eventually("the front's end of it", func() bool { return s.Front.Open() == 0 })
		p.Thaw()
		if a := <-done; a.Status != 200 {
			s.Errorf("%d %s", a.Status, a.Text)
		}
	},
	"the server dies between invocations, and comes back": func(s *lambdaScene) {
		own := vault{s.T}.Own(s.T)
		own.Mount("plain", "kv", vaulttest.Map{"version": "1"})
		own.WriteKV1("plain", "app", vaulttest.Map{"value": "one", "password": lambdaPassword})
		own.Policy("lambda", map[string][]string{"plain/app": {"read"}})
		own.EnableAuth("aws", "aws")
		own.OK("POST", "auth/aws/config/client", vaulttest.Map{"sts_endpoint": s.aws.URL})
		s.Site, s.mount, s.policy = own.Site, "aws", "lambda"
		s.role(nil)
		e := s.start(s.options(s.usual("VAULT_SECRET_PATH=plain/app")...))
		s.inits(e)
		if a := s.do(e, s.get("plain/app")); a.Status != 200 {
			s.Fatalf("%d %s", a.Status, a.Text)
		}
		if err := own.Down(); err != nil {
			s.Fatal(err)
		}
		if a := s.do(e, s.get("plain/app")); a.Status != 502 {
			s.Errorf("without a server: %d %s", a.Status, a.Text)
		}
		if a := s.do(e, task.Task{Do: "read", Path: s.file}); a.Error != "" {
			s.Error(a.Error)
		}
		if err := errors.Join(own.Up(), own.Seal()); err != nil {
			s.Fatal(err)
		}
		if a := s.do(e, s.get("plain/app")); a.Status != 503 {
			s.Errorf("sealed: %d %s", a.Status, a.Text)
		}
		if err := own.Unseal(); err != nil {
			s.Fatal(err)
		}
		s.eventually("an answer", func() bool { return s.do(e, s.get("plain/app")).Status == 200 })
		s.gently(e.Shutdown("spindown"))
	},
	"a crash of the function is its own": func(s *lambdaScene) {
		e := s.start(s.options(s.usual()...))
		s.inits(e)
		_, err := e.Invoke(task.Task{Do: "exit", Code: 3})
		s.fault(err, lambdatest.RuntimeExit)
		// The environment was reset: the file is there, the login is a new one.
		if s.inFile(e) != "one" || s.reads(e) != "one" || s.logins() != 2 {
			s.Errorf("%d logins", s.logins())
		}
	},
	"SnapStart: nothing is fetched before the snapshot": func(s *lambdaScene) {
		o := s.options(s.usual()...)
		o.InitType = lambdatest.SnapStart
		o.Env = append(o.Env, "LAMBDATEST_INIT=restore")
		keys := o.Credentials
		o.Credentials = lambdatest.Credentials{AccessKeyID: "ASIASNAPSHOT", SecretAccessKey: "old", SessionToken: "old"}
		p := s.ours(o)
		if f := p.Init().Fault; f != nil {
			s.Fatal(f)
		}
		if n := len(s.Front.Requests()); n != 0 {
			s.Errorf("%d requests before the snapshot", n)
		}
		s.nothing(s.file)
		if err := p.Restore(keys); err != nil {
			s.Fatal(err)
		}
		if s.reads(p) != "one" || s.logins() != 1 {
			s.Errorf("%d logins", s.logins())
		}
		if s.inFile(p) != "one" {
			s.Error("another value")
		}
		s.gently(p.Shutdown("spindown"))
	},
	"SnapStart: logging in before the snapshot, when that is asked for": func(s *lambdaScene) {
		o := s.options(s.usual("LATCHKEY_SNAPSTART=init")...)
		o.InitType = lambdatest.SnapStart
		p := s.ours(o)
		if f := p.Init().Fault; f != nil {
			s.Fatal(f)
		}
		if s.logins() != 1 {
			s.Errorf("%d logins before the snapshot", s.logins())
		}
		s.reads(p)
	},
	"managed instances: concurrent, and kept right with no invocation": func(s *lambdaScene) {
		s.role(vaulttest.Map{"token_ttl": "8s"})
		o := s.options(s.usual("VAULT_TOKEN_EXPIRY_GRACE_PERIOD=100ms", "LATCHKEY_REFRESH_INTERVAL=1s")...)
		o.InitType, o.Concurrency = lambdatest.ManagedInstances, 8
		p := s.ours(o)
		if f := p.Init().Fault; f != nil {
			s.Fatal(f)
		}
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				get := s.get(s.path)
				get.Times, get.Parallel = 40, 4
				r, err := p.Invoke(get)
				var a task.Answer
				if err != nil || r.Into(&a) != nil || a.Statuses[200] != 40 {
					s.Errorf("%v %v %s", err, a.Statuses, a.Error)
				}
			})
		}
		all.Wait()
		s.write("two")
		s.eventually("a renewal and the file's new value", func() bool {
			text, err := os.ReadFile(s.file)
			return err == nil && secretIn(s.T, string(text)) == "two" && s.Front.Count("PUT", "auth/token/renew-self") > 0
		})
		if s.logins() != 1 {
			s.Errorf("%d logins", s.logins())
		}
		for _, c := range p.Calls() {
			if c.Event == "INVOKE" {
				s.Error("it is told of invocations")
			}
		}
		s.gently(p.Shutdown("spindown"))
	},
}

// skewed starts an environment whose extension's clock can be moved.
func (s *lambdaScene) skewed(env ...string) *lambdatest.Platform {
	s.Helper()
	if testing.Short() || s.rie != "" {
		s.Skip("compiles the standard library, for our platform")
	}
	o := s.options(s.usual(env...)...)
	o.Extension, o.Name = s.binary("skewed"), "latchkey-extension"
	return s.ours(o)
}

// hours has so many hours pass since the start, for the extension and for AWS; for
// the server, which is another machine, none do.
func (s *lambdaScene) hours(p *lambdatest.Platform, h float64) {
	s.Helper()
	d := time.Duration(h * float64(time.Hour))
	s.aws.Skew(d)
	if err := p.Skew("latchkey-extension", d); err != nil {
		s.Fatal(err)
	}
}

// relay stands on the way to a server, as a load balancer does.
type relay struct {
	addr string

	mu    sync.Mutex
	conns map[*passing]bool
}

// passing is a connection through the relay.
type passing struct {
	client, server net.Conn
	swallows       bool
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: l.Addr().String(), conns: map[*passing]bool{}}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		r.cut()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			p := &passing{client: c, server: up}
			r.mu.Lock()
			r.conns[p] = true
			r.mu.Unlock()
			all.Go(func() { r.pass(p, up, c) })
			all.Go(func() { r.pass(p, c, up) })
		}
	})
	return r
}

// pass passes on what is not swallowed.
func (r *relay) pass(p *passing, to, from net.Conn) {
	_, _ = io.Copy(&throat{r, p, to}, from)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !p.swallows {
		_, _ = to.Close(), from.Close()
	}
}

type throat struct {
	r  *relay
	p  *passing
	to net.Conn
}

func (t *throat) Write(b []byte) (int, error) {
	t.r.mu.Lock()
	swallows := t.p.swallows
	t.r.mu.Unlock()
	if swallows {
		return len(b), nil
	}
	return t.to.Write(b)
}

// cut closes all connections there are.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.conns {
		_, _ = p.client.Close(), p.server.Close()
		delete(r.conns, p)
	}
}

// swallow has the connections there are carry nothing any more, and tells nobody.
func (r *relay) swallow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.conns {
		p.swallows = true
	}
}
