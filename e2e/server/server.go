package server

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"latchkey/internal/vaulttest"
)

// Server is one running Vault, initialised, unsealed, with KV version 2 at
// secret/ as the dev server has it.
type Server struct {
	// Addr is its URL, RootToken and UnsealKey are its own.
	Addr      string
	RootToken string
	UnsealKey string
	// CA issued the server's certificate; nil on plain HTTP.
	CA *vaulttest.CA
	// CAFile is the CA's certificate as a file; "" on plain HTTP.
	CAFile string

	args   []string
	dir    string
	client *http.Client
	cmd    *exec.Cmd
	ended  <-chan struct{}
}

// patience is how long a server may take to start or to answer.
const patience = time.Minute

// Dev starts a server in dev mode: plain HTTP, everything in memory.
func Dev(binary string) (*Server, error) {
	return begin(binary, func(s *Server, port int) error {
		s.RootToken = "root-" + random()
		s.Addr = fmt.Sprintf("http://127.0.0.1:%d", port)
		s.args = []string{
			binary, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=" + s.RootToken,
			fmt.Sprintf("-dev-listen-address=127.0.0.1:%d", port),
		}
		return nil
	}, func(*Server) error { return nil })
}

// TLS starts a server with a configuration file: TLS with certificates of its
// own, storage in files, so that it can be restarted, initialised over HTTP.
func TLS(binary string) (*Server, error) {
	return begin(binary, func(s *Server, port int) error {
		s.Addr = fmt.Sprintf("https://127.0.0.1:%d", port)
		s.args = []string{binary, "server", "-config=" + filepath.Join(s.dir, "vault.hcl")}
		return s.configure(port)
	}, (*Server).initialise)
}

// begin makes a server's directory, starts it, and lets setUp finish it. A
// port that somebody else took in between is tried again with another.
func begin(binary string, prepare func(*Server, int) error, setUp func(*Server) error) (*Server, error) {
	var last error
	for range 3 {
		dir, err := os.MkdirTemp("", "latchkey-vault-")
		if err != nil {
			return nil, err
		}
		s := &Server{dir: dir, client: &http.Client{Timeout: patience}}
		port, err := FreePort()
		if err == nil {
			err = prepare(s, port)
		}
		if err == nil {
			err = s.run()
		}
		if err == nil {
			err = setUp(s)
		}
		if err == nil {
			return s, nil
		}
		last = fmt.Errorf("starting %s: %w\n%s", filepath.Base(binary), err, s.Log())
		s.Stop()
	}
	return nil, last
}

func (s *Server) configure(port int) error {
	ca, err := vaulttest.NewCA("e2e")
	if err != nil {
		return err
	}
	pair, err := ca.Server()
	if err != nil {
		return err
	}
	s.CA, s.CAFile = ca, filepath.Join(s.dir, "ca.pem")
	if s.client, err = ca.HTTPClient(patience); err != nil {
		return err
	}
	conf := fmt.Sprintf(`disable_mlock = true
api_addr = %q
storage "file" { path = %q }
listener "tcp" {
  address       = "127.0.0.1:%d"
  tls_cert_file = %q
  tls_key_file  = %q
}
`, s.Addr, filepath.Join(s.dir, "data"), port, filepath.Join(s.dir, "cert.pem"), filepath.Join(s.dir, "key.pem"))
	for name, data := range map[string][]byte{"ca.pem": ca.PEM, "cert.pem": pair.Cert, "key.pem": pair.Key, "vault.hcl": []byte(conf)} {
		if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) run() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Dir = s.dir
	// Nothing of the caller's environment: it may name another Vault.
	s.cmd.Env = []string{"HOME=" + s.dir, "TMPDIR=" + s.dir, "PATH=" + os.Getenv("PATH")}
	if s.ended, err = Start(s.cmd); err != nil {
		s.cmd = nil
		return err
	}
	// Any answer will do: an uninitialised server says 501, a sealed one 503.
	return s.poll(func() error {
		_, err := s.call("GET", "sys/health", nil, nil)
		return err
	})
}

func (s *Server) initialise() error {
	var keys struct {
		Keys []string `json:"keys"`
		Root string   `json:"root_token"`
	}
	if err := s.must("PUT", "sys/init", vaulttest.Map{"secret_shares": 1, "secret_threshold": 1}, &keys); err != nil {
		return err
	}
	s.RootToken, s.UnsealKey = keys.Root, keys.Keys[0]
	if err := s.Unseal(); err != nil {
		return err
	}
	return s.poll(func() error {
		return s.must("POST", "sys/mounts/secret", vaulttest.Map{"type": "kv", "options": vaulttest.Map{"version": "2"}}, nil)
	})
}

// Unseal unseals the server and waits until it is active.
func (s *Server) Unseal() error {
	if err := s.must("PUT", "sys/unseal", vaulttest.Map{"key": s.UnsealKey}, nil); err != nil {
		return err
	}
	return s.poll(func() error { return s.must("GET", "sys/health", nil, nil) })
}

// Seal seals the server; only one that TLS started can be unsealed.
func (s *Server) Seal() error { return s.must("PUT", "sys/seal", vaulttest.Map{}, nil) }

// Down ends the process; Up starts it again at the same address, unsealed,
// with what it had stored.
func (s *Server) Down() { s.end() }

// Up is described at Down.
func (s *Server) Up() error {
	if err := s.run(); err != nil {
		return err
	}
	return s.Unseal()
}

// Stop ends the process and removes all it left; it may be called twice.
func (s *Server) Stop() {
	s.end()
	_ = os.RemoveAll(s.dir)
}

func (s *Server) end() {
	s.client.CloseIdleConnections()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
}

// Log returns the end of what the server has logged.
func (s *Server) Log() string {
	data, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return ""
	}
	if len(data) > 4096 {
		data = data[len(data)-4096:]
	}
	return string(data)
}

// poll asks again, a hundred times a second, until ask succeeds, the process
// ends, or patience is over.
func (s *Server) poll(ask func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return fmt.Errorf("it ended: %w", err)
		case <-end:
			return fmt.Errorf("still after %s: %w", patience, err)
		}
	}
}

// must is call that takes only a 2xx for success.
func (s *Server) must(method, path string, body, into any) error {
	status, err := s.call(method, path, body, into)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("%s %s: %d", method, path, status)
	}
	return err
}

func (s *Server) call(method, path string, body, into any) (int, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	if body == nil {
		data = nil
	}
	req, err := http.NewRequest(method, s.Addr+"/v1/"+path, bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	if s.RootToken != "" {
		req.Header.Set("X-Vault-Token", s.RootToken)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if into != nil && resp.StatusCode/100 == 2 {
		err = json.Unmarshal(answer, into)
	}
	return resp.StatusCode, err
}

// FreePort returns a port of loopback that nobody listens on now.
func FreePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	tcp, ok := ln.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.New("no TCP address")
	}
	return tcp.Port, nil
}

func random() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b)
	return strings.ToLower(hex.EncodeToString(b))
}
