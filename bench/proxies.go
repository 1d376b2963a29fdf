package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	vault "latchkey/e2e/server"
)

// The programs that only stand before the server, by the names the report uses.
const (
	nameStraight = "straight to Vault"
	nameBare     = "bare handler"
	nameNginx    = "nginx"
)

// ask is one request, again and again.
type ask struct{ kind, method, path, body string }

// served is a program that answers requests.
type served struct {
	name string
	*resident
	// url is where it listens: http://host:port.
	url string
	// aim is what wrk asks it for next.
	aim aim
}

// proxied starts one program, waits until it answers a, and leaves it to the
// caller to stop it. argv gets a directory of its own and the port to listen on.
func (t *tools) proxied(ctx context.Context, s *seeded, name, dir string, a ask, argv func(own string, port int) ([]string, error)) (*served, error) {
	own := filepath.Join(s.dir, dir)
	if err := os.MkdirAll(filepath.Join(own, "out"), 0o700); err != nil {
		return nil, err
	}
	port, err := vault.FreePort()
	if err != nil {
		return nil, err
	}
	args, err := argv(own, port)
	if err != nil {
		return nil, err
	}
	p := &served{name: name, url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	if p.resident, err = t.stay(name, own, args); err != nil {
		return nil, err
	}
	if err := p.until(ctx, *patience, 20*time.Millisecond, func() bool {
		got, err := p.answer(ctx, a)
		return err == nil && got.Status == http.StatusOK
	}); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// answer is what one request got; see bare.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

func (p *served) answer(ctx context.Context, a ask) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, a.method, p.url+a.path, strings.NewReader(a.body))
	if err != nil {
		return answer{}, err
	}
	for _, h := range clientHeader {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body}, err
}

// get is answer for what anybody may read there.
func (p *served) get(ctx context.Context, path string) (answer, error) {
	return p.answer(ctx, ask{method: http.MethodGet, path: path})
}

// hit makes sure that a is answered out of the cache by now.
func (p *served) hit(ctx context.Context, a ask) (answer, error) {
	var got answer
	for range 2 {
		var err error
		if got, err = p.answer(ctx, a); err != nil {
			return got, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if got.Status != http.StatusOK || got.Header.Get("X-Cache") != "HIT" {
		return got, fmt.Errorf("%s answers %s with %d, X-Cache %q, and not out of its cache%s", p.name, a.path, got.Status, got.Header.Get("X-Cache"), tail(p.log))
	}
	return got, nil
}

// agent starts latchkey or vault agent as a proxy that lends its token; more is
// added to the configuration, which both read.
func (t *tools) agent(ctx context.Context, s *seeded, name, dir string, a ask, more string) (*served, error) {
	return t.proxied(ctx, s, name, dir, a, func(own string, port int) ([]string, error) {
		var b strings.Builder
		writeLogin(&b, s, s.Addr, own)
		fmt.Fprintf(&b, `
api_proxy {
  use_auto_auth_token = true
}
listener "tcp" {
  address     = "127.0.0.1:%d"
  tls_disable = true
}
%s
`, port, more)
		file := filepath.Join(own, "agent.hcl")
		argv := []string{t.latchkey, "daemon", "-config", file}
		if name == nameAgent {
			argv = []string{t.vault, "agent", "-config", file}
		}
		return argv, os.WriteFile(file, []byte(b.String()), 0o600)
	})
}

// bareHandler starts the bare handler with answers by their paths.
func (t *tools) bareHandler(ctx context.Context, s *seeded, a ask, answers map[string]answer) (*served, error) {
	return t.proxied(ctx, s, nameBare, "bare", a, func(own string, port int) ([]string, error) {
		for _, a := range answers {
			a.Header.Del("Date") // which every server in Go says by itself
		}
		text, err := json.Marshal(answers)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(own, "answers.json")
		argv := []string{t.bare, "-address", fmt.Sprintf("127.0.0.1:%d", port), "-answers", file}
		return argv, os.WriteFile(file, text, 0o600)
	})
}

// nginxConf has what a careful hand would set: connections to the server that
// are kept, none of ours closed after a thousand requests, no log of requests,
// and for the cache open files that are kept.
const nginxConf = `
daemon off;
%s
worker_processes auto;
pid %q;
error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 100000000;
  sendfile on;
  tcp_nopush on;
  client_body_temp_path %[3]q;
  proxy_temp_path       %[3]q;
  fastcgi_temp_path     %[3]q;
  uwsgi_temp_path       %[3]q;
  scgi_temp_path        %[3]q;
  proxy_cache_path %[4]q keys_zone=answers:10m;
  open_file_cache max=1000 inactive=1h;
  open_file_cache_valid 1h;
  upstream vault {
    server %[5]s;
    keepalive 64;
    keepalive_requests 100000000;
  }
  server {
    listen 127.0.0.1:%[6]d;
    location / {
      proxy_pass http://vault;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Vault-Request "true";
      proxy_set_header X-Vault-Token %[7]q;
      %[8]s
    }
  }
}
`

const nginxCache = `proxy_cache answers;
      proxy_cache_methods GET POST;
      proxy_cache_key $request_method$request_uri$request_body;
      proxy_cache_valid 200 1h;
      proxy_ignore_headers Cache-Control;
      add_header X-Cache $upstream_cache_status;`

// nginx starts nginx before the server, with its cache or without.
func (t *tools) nginx(ctx context.Context, s *seeded, dir string, a ask, token string, cache bool) (*served, error) {
	return t.proxied(ctx, s, nameNginx, dir, a, func(own string, port int) ([]string, error) {
		user, more := "", ""
		if os.Geteuid() == 0 {
			user = "user root;" // whose directory this is
		}
		if cache {
			more = nginxCache
		}
		file := filepath.Join(own, "nginx.conf")
		text := fmt.Sprintf(nginxConf, user, filepath.Join(own, "pid"), filepath.Join(own, "tmp"), filepath.Join(own, "cache"),
			strings.TrimPrefix(s.Addr, "http://"), port, token, more)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
		cmd, err := t.debian.Command("nginx", "-e", "stderr", "-p", own, "-c", file)
		if err != nil {
			return nil, err
		}
		return append([]string{"/usr/bin/env", t.debian.Libraries()}, cmd.Args...), nil
	})
}
