//go:build linux

package e2e

import (
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"latchkey/internal/lambdatest"
	"latchkey/internal/lambdatest/task"
	"latchkey/internal/vaulttest"
)

// lambdaFailures are starts that cannot go well, each told by its stage, and
// those that are meant to go on all the same.
var lambdaFailures = map[string]func(*lambdaScene){
	"nobody listens at the address": func(s *lambdaScene) {
		s.fails(s.start(s.options(s.usual("VLE_VAULT_ADDR=http://"+lambdaAddress(s.T), "LATCHKEY_INIT_BUDGET=2s")...)),
			"Extension.ConnectFailed", "VAULT_ADDR", "refused")
	},
	"the name of the server has no address": func(s *lambdaScene) {
		s.fails(s.start(s.options(s.usual("VLE_VAULT_ADDR=https://vault.invalid:8200", "LATCHKEY_INIT_BUDGET=4s")...)),
			"Extension.DNSFailed", "vault.invalid")
	},
	"the server's certificate is not trusted": func(s *lambdaScene) {
		s.fails(s.start(s.options(s.usual("VLE_VAULT_ADDR="+get(s.T, secure).Addr, "LATCHKEY_INIT_BUDGET=2s")...)),
			"Extension.TLSFailed", "VAULT_CACERT")
	},
	"the server takes a connection and says nothing": func(s *lambdaScene) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { _ = l.Close() }) // the kernel takes connections for it
		s.fails(s.start(s.options(s.usual("VLE_VAULT_ADDR=http://"+l.Addr().String(), "LATCHKEY_INIT_BUDGET=2s")...)),
			"Extension.NoAnswer")
	},
	"the server is sealed": func(s *lambdaScene) {
		s.Front.Rude(vaulttest.Match{}, vaulttest.Rudeness{Status: 503, Errors: []string{"Vault is sealed"}})
		s.fails(s.start(s.options(s.usual("LATCHKEY_INIT_BUDGET=2s")...)), "Extension.NoAnswer", "sealed")
	},
	"the role is another's": func(s *lambdaScene) {
		s.role(vaulttest.Map{"bound_iam_principal_arn": "arn:aws:iam::123456789012:role/another"})
		s.fails(s.start(s.options(s.usual()...)), "Extension.AuthFailed", "VAULT_AUTH_ROLE")
		s.once()
	},
	"the role does not exist": func(s *lambdaScene) {
		s.fails(s.start(s.options(s.usual("VAULT_AUTH_ROLE=nobody")...)), "Extension.AuthFailed", "VAULT_AUTH_ROLE")
		s.once()
	},
	"the secret does not exist": func(s *lambdaScene) {
		s.fails(s.start(s.options(s.usual("VAULT_SECRET_PATH=secret/data/lambda/none")...)),
			"Extension.SecretFailed", "VAULT_SECRET_PATH", "secret/data/lambda/none")
		s.nothing(s.file)
	},
	"the secret may not be read": func(s *lambdaScene) {
		s.fails(s.start(s.options(s.usual("VAULT_SECRET_PATH=secret/data/lambda/forbidden")...)),
			"Extension.SecretFailed", "VAULT_SECRET_PATH", "secret/data/lambda/forbidden")
	},
	"all secrets that are not there are named at once": func(s *lambdaScene) {
		s.fails(s.start(s.options(s.usual(
			"VAULT_SECRET_PATH_A=secret/data/lambda/none", "VAULT_SECRET_FILE_A="+filepath.Join(s.tmp, "a"),
			"VAULT_SECRET_PATH_B=secret/data/lambda/forbidden", "VAULT_SECRET_FILE_B="+filepath.Join(s.tmp, "b"),
		)...)), "Extension.SecretFailed", "VAULT_SECRET_PATH_A", "VAULT_SECRET_PATH_B")
	},
	"half a pair, a mode and a duration that make no sense are all told at once": func(s *lambdaScene) {
		s.fails(s.start(s.options(s.usual(
			"VAULT_SECRET_PATH_A=x/y", "VAULT_RUN_MODE=prox", "VAULT_DEFAULT_CACHE_TTL=5 minutes", "VAULT_TOKEN_EXPIRY_GRACE_PERIOD=soon",
			"LATCHKEY_FILE_MODE=rw", "LATCHKEY_REFESH_INTERVAL=1m",
		)...)), "Extension.ConfigInvalid", "VAULT_SECRET_FILE_A", "VAULT_RUN_MODE", "VAULT_DEFAULT_CACHE_TTL",
			"VAULT_TOKEN_EXPIRY_GRACE_PERIOD", "LATCHKEY_FILE_MODE", "LATCHKEY_REFESH_INTERVAL")
		if n := len(s.Front.Requests()); n != 0 {
			s.Errorf("the server was asked %d times all the same", n)
		}
	},
	"the address is the proxy itself": func(s *lambdaScene) {
		s.fails(s.start(s.options(s.usual("VLE_VAULT_ADDR")...)), "Extension.ConfigInvalid", "VAULT_ADDR")
	},
	"the port is taken": func(s *lambdaScene) {
		l, err := net.Listen("tcp", s.listen)
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { _ = l.Close() })
		s.fails(s.start(s.options(s.usual()...)), "Extension.ListenFailed", "address already in use", "LATCHKEY_LISTEN")
	},
	"no credentials of AWS": func(s *lambdaScene) {
		o := s.options(s.usual()...)
		o.Credentials = lambdatest.Credentials{Expiration: time.Now()}
		s.fails(s.start(o), "Extension.AuthFailed", "credentials")
	},
	"a start that failed may go well inside the first invocation": func(s *lambdaScene) {
		stop := s.Front.Rude(vaulttest.Match{}, vaulttest.Rudeness{Status: 503, Errors: []string{"Vault is sealed"}})
		p := s.ours(s.options(s.usual("LATCHKEY_INIT_BUDGET=1s")...))
		s.fails(p, "Extension.NoAnswer")
		stop()
		if s.reads(p) != "one" || p.Inits() != 2 {
			s.Errorf("%d inits", p.Inits())
		}
	},
	"a start that takes the platform's time is ended by the extension, with its reason": func(s *lambdaScene) {
		s.Front.Rude(vaulttest.Match{}, vaulttest.Rudeness{Hang: true})
		// The budget is eight of the platform's ten seconds, with two tries in it; what
		// comes on top here is the time that a process takes to start on a busy machine.
		p := s.ours(s.options(s.usual()...))
		s.fails(p, "Extension.NoAnswer", "no answer within 3s", "2 attempts")
		if took := p.Init().Duration; took < 6*time.Second || took > 14*time.Second {
			s.Errorf("it took %s", took)
		}
	},
	"open: the function starts without the server, and has all when that is back": func(s *lambdaScene) {
		stop := s.Front.Rude(vaulttest.Match{}, vaulttest.Rudeness{Drop: true})
		e := s.start(s.options(s.usual("LATCHKEY_FAIL=open", "LATCHKEY_INIT_BUDGET=1s")...))
		s.inits(e)
		if a := s.do(e, s.get(s.path)); a.Status != 503 && a.Status != 502 {
			s.Errorf("without the server the proxy says %d %s", a.Status, a.Text)
		}
		if a := s.do(e, task.Task{Do: "read", Path: s.file}); a.Error == "" {
			s.Errorf("there is a file: %+v", a)
		}
		stop()
		s.eventually("the proxy's recovery", func() bool { return s.do(e, s.get(s.path)).Status == 200 })
		s.eventually("the file", func() bool { return s.do(e, task.Task{Do: "read", Path: s.file}).Error == "" })
		s.gently(e.Shutdown("spindown"))
	},
	"open: settings that make no sense end the start all the same": func(s *lambdaScene) {
		s.fails(s.start(s.options(s.usual("LATCHKEY_FAIL=open", "VAULT_RUN_MODE=prox")...)), "Extension.ConfigInvalid", "VAULT_RUN_MODE")
	},
	"the platform is out of order at register": func(s *lambdaScene) {
		o := s.options(s.usual()...)
		o.Rude = func(call string, _ int) lambdatest.Rudeness {
			return lambdatest.Rudeness{Status: status(call == "register", 500)}
		}
		p := s.ours(o)
		s.promptly(p)
	},
	"the platform is out of order at next": func(s *lambdaScene) {
		o := s.options(s.usual()...)
		o.Rude = func(call string, _ int) lambdatest.Rudeness {
			return lambdatest.Rudeness{Status: status(call == "event/next", 500)}
		}
		p := s.ours(o)
		s.promptly(p)
		reported := ""
		for _, c := range p.Calls() {
			if c.Name == "exit/error" {
				reported = c.Name
			}
		}
		if reported == "" {
			s.Error("the platform was not told")
		}
	},
	"SIGTERM while it logs in": func(s *lambdaScene) {
		s.terminated(vaulttest.Match{Method: "PUT", Path: "auth/" + s.mount + "/login"}, false)
	},
	"SIGTERM while it reads a secret": func(s *lambdaScene) {
		s.terminated(vaulttest.Match{Path: s.path}, false)
	},
	"SIGTERM while it waits for an event": func(s *lambdaScene) {
		s.terminated(vaulttest.Match{}, true)
	},
	"SIGTERM while it logs in within an invocation": func(s *lambdaScene) {
		s.role(vaulttest.Map{"token_ttl": "1s", "token_max_ttl": "1s"})
		p := s.ours(s.options(s.usual("VAULT_TOKEN_EXPIRY_GRACE_PERIOD=100ms")...))
		s.inits(p)
		s.over(s.accessors())
		s.Front.Rude(vaulttest.Match{Method: "PUT", Path: "auth/" + s.mount + "/login"}, vaulttest.Rudeness{
			Hang: true, Do: func() { p.Signal("latchkey-extension", syscall.SIGTERM) },
		})
		_, err := p.Invoke(task.Task{Do: "hang"})
		s.fault(err, lambdatest.Crash)
	},
}

func status(is bool, code int) int {
	if is {
		return code
	}
	return 0
}

// once wants a login that cannot go well to have been tried once in each start.
func (s *lambdaScene) once() {
	s.Helper()
	if n := s.logins(); s.rie == "" && n != 1 {
		s.Errorf("%d logins, though none could go well", n)
	}
}

// nothing wants no file to be there.
func (s *lambdaScene) nothing(path string) {
	s.Helper()
	if found, _ := filepath.Glob(path); len(found) > 0 {
		s.Errorf("there is %s", path)
	}
}

// promptly wants the start to have failed by the extension's own exit.
func (s *lambdaScene) promptly(p *lambdatest.Platform) {
	s.Helper()
	r := p.Init()
	if r.Fault == nil || !strings.HasPrefix(r.Fault.Type, "Extension.") || r.Fault.Message == "exit code 0" || r.Duration > 10*time.Second {
		s.Errorf("%v after %s", r.Fault, r.Duration)
	}
}

// terminated sends SIGTERM in the middle of a request, or when the extension
// waits; it must end, soon, and not as if nothing were.
func (s *lambdaScene) terminated(during vaulttest.Match, waiting bool) {
	s.Helper()
	pid := make(chan int, 10)
	o := s.options(s.usual()...)
	o.Started = func(name string, one int) {
		if name == "latchkey-extension" {
			pid <- one
		}
	}
	if !waiting {
		s.Front.Rude(during, vaulttest.Rudeness{Hang: true, Do: func() { _ = syscall.Kill(<-pid, syscall.SIGTERM) }})
		p := s.ours(o)
		r := p.Init()
		if r.Fault == nil || !strings.HasPrefix(r.Fault.Type, "Extension.") {
			s.Errorf("%+v", r.Fault)
		}
		if r.Duration > 7*time.Second {
			s.Errorf("it took %s to hear of it", r.Duration)
		}
		return
	}
	p := s.ours(o)
	s.inits(p)
	p.Thaw()
	p.Signal("latchkey-extension", syscall.SIGTERM)
	if _, err := p.Gone(s.within(5*time.Second), "latchkey-extension"); err != nil {
		s.Error(err)
	}
}
