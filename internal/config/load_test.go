package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// write puts files into a new directory and returns it.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load reads one file that must be good.
func load(t testing.TB, name, text string) *Loaded {
	t.Helper()
	l, err := Load([]string{filepath.Join(write(t, map[string]string{name: text}), name)}, Options{})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return l
}

const tutorial = `pid_file = "./pidfile"

vault {
   address = "http://127.0.0.1:8200"
   tls_skip_verify = true
}

auto_auth {
   method "AppRole" {
      mount_path = "auth/approle/"
      config = {
         role_id_file_path = "roleID"
         secret_id_file_path = "secretID"
         remove_secret_id_file_after_reading = false
      }
   }
   sink "file" {
      config = {
         path = "approleToken"
         mode = 0600
      }
   }
}

listener "tcp" { address = "127.0.0.1:8100" tls_disable = true }

template {
  source      = "/etc/a.ctmpl"
  destination = "/run/a"
  perms = 0640
  wait { min = "2s" }
}
`

func TestLoad_the_tutorials_file(t *testing.T) {
	f := load(t, "agent.hcl", tutorial).File
	if f.Vault.Address != "http://127.0.0.1:8200" || !f.Vault.TLSSkipVerify || f.Vault.NumRetries != 12 {
		t.Errorf("vault: %+v", f.Vault)
	}
	m := f.AutoAuth.Method
	if m.Type != "approle" || m.MountPath != "auth/approle" || m.MinBackoff != time.Second {
		t.Errorf("method: %+v", m)
	}
	cfg := struct {
		Role   string `config:"role_id_file_path,required"`
		Secret string `config:"secret_id_file_path"`
		Remove bool   `config:"remove_secret_id_file_after_reading"`
		Wrap   string `config:"secret_id_response_wrapping_path"`
	}{Remove: true}
	if err := m.Config.Decode(&cfg); err != nil {
		t.Fatal(err)
	}
	if cfg.Role != "roleID" || cfg.Secret != "secretID" || cfg.Remove {
		t.Errorf("config: %+v", cfg)
	}
	if len(f.AutoAuth.Sinks) != 1 || f.AutoAuth.Sinks[0].Type != "file" {
		t.Errorf("sinks: %+v", f.AutoAuth.Sinks)
	}
	if l := f.Listeners; len(l) != 1 || !l[0].TLSDisable || l[0].Address != "127.0.0.1:8100" {
		t.Errorf("listeners: %+v", l)
	}
	if p := f.Templates[0].Perms; p == nil || *p != 0o640 || f.Templates[0].Wait.Max != 8*time.Second || !f.Templates[0].ErrorFatal {
		t.Errorf("template: %+v", f.Templates[0])
	}
}
