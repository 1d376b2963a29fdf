package server

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A test process that is run again by TestTheServerDiesWithItsTest.
func TestMain(m *testing.M) {
	if os.Getenv("LATCHKEY_E2E_HOLD") == "" {
		os.Exit(m.Run())
	}
	binary, err := Binary(os.Stderr)
	if err != nil {
		panic(err)
	}
	s, err := Dev(binary)
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString(s.Addr + "\n")
	_, _ = io.Copy(io.Discard, os.Stdin) // until killed
}

func TestTheServerDiesWithItsTest(t *testing.T) {
	if !diesWithParent {
		t.Skip("only Linux ends a child with its parent")
	}
	if _, err := Binary(os.Stderr); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	// Its directory is left behind when it is killed: let it be one of ours.
	cmd.Env = append(os.Environ(), "LATCHKEY_E2E_HOLD=1", "TMPDIR="+t.TempDir())
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr = strings.TrimSpace(addr)
	if err := answers(addr); err != nil {
		t.Fatalf("the server of the other process: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	end := time.After(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for answers(addr) == nil {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("the server outlived its test by ten seconds")
		}
	}
}

func answers(addr string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Get(addr + "/v1/sys/health")
	if err == nil {
		err = resp.Body.Close()
	}
	return err
}

func TestATLSServerSurvivesARestart(t *testing.T) {
	binary, err := Binary(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	s, err := TLS(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	body := map[string]any{"data": map[string]any{"a": "b"}}
	if err := s.must("PUT", "secret/data/app", body, nil); err != nil {
		t.Fatal(err)
	}
	s.Down()
	if _, err := s.call("GET", "sys/health", nil, nil); err == nil {
		t.Error("answers though it is down")
	}
	if err := s.Up(); err != nil {
		t.Fatal(err)
	}
	if err := s.must("GET", "secret/data/app", nil, nil); err != nil {
		t.Error(err)
	}
	dir := s.dir
	s.Stop()
	s.Stop()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left behind", dir)
	}
}

func TestABinaryThatIsNotThereIsToldByTheVariablesName(t *testing.T) {
	t.Setenv(EnvBinary, filepath.Join(t.TempDir(), "vault"))
	if _, err := Binary(io.Discard); err == nil || !strings.Contains(err.Error(), EnvBinary) {
		t.Errorf("got %v", err)
	}
}

func TestAProgramThatIsNoVaultFailsWithItsLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho this is not vault\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := Dev(path); err == nil || !strings.Contains(err.Error(), "this is not vault") {
		t.Errorf("got %v", err)
	}
	if time.Since(start) > 30*time.Second {
		t.Errorf("took %s to see that it had ended", time.Since(start))
	}
}

func TestTheVersionIsThatOfTheModuleFile(t *testing.T) {
	root, err := moduleDir()
	if err != nil {
		t.Fatal(err)
	}
	version, sum, err := pinned(root)
	if err != nil || version != "v1.21.0" || len(sum) != 12 {
		t.Errorf("got %s %s %v", version, sum, err)
	}
}
