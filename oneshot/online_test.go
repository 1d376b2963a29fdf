package oneshot

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/sink"
	"latchkey/internal/template"
	"latchkey/internal/vault"
	"latchkey/internal/vaulttest"
)

// prove runs the check and returns the names of the steps, the failed one in
// capitals.
func prove(t *testing.T, j Job) (string, error) {
	t.Helper()
	var names []string
	err := Online{Session: j.Session, Client: j.Client, Sinks: j.Sinks, Templates: j.Templates, Reads: j.Reads}.
		Run(t.Context(), func(s Step) {
			if s.Err != nil {
				s.Name = strings.ToUpper(s.Name)
			} else if s.Detail == "" {
				t.Errorf("step %s says nothing", s.Name)
			}
			names = append(names, s.Name)
		})
	return strings.Join(names, " "), err
}

func TestTheCheckStopsAtTheFirstStepThatFailsAndRevokes(t *testing.T) {
	const until = "address connect tls health login token"
	for _, c := range []struct {
		name string
		spec template.Spec
		prep func(*testing.T, *Job, *vaulttest.Server)
		want string
		kind error
	}{
		{"all good", template.Spec{}, nil, until + " paths outputs revoke", nil},
		{"sealed", template.Spec{}, func(_ *testing.T, _ *Job, s *vaulttest.Server) { s.Seal() }, "address connect tls HEALTH", vault.ErrSealed},
		{"nobody listens", template.Spec{}, func(_ *testing.T, _ *Job, s *vaulttest.Server) { s.Down() }, "address CONNECT", vault.ErrUnreachable},
		{"no Vault there", template.Spec{}, func(_ *testing.T, _ *Job, s *vaulttest.Server) {
			s.Rude(vaulttest.Match{Path: "sys/health"}, vaulttest.Rudeness{Status: 404})
		}, "address connect tls HEALTH", vault.ErrServer},
		{"something else in JSON", template.Spec{}, func(_ *testing.T, _ *Job, s *vaulttest.Server) {
			s.Rude(vaulttest.Match{Path: "sys/health"}, vaulttest.Rudeness{Raw: "{}"})
		}, "address connect tls HEALTH", vault.ErrServer},
		{"path denied", template.Spec{Contents: `{{ with secret "sys/policy" }}{{ .Data }}{{ end }}`}, nil, until + " PATHS revoke", vault.ErrDenied},
		{"write denied", template.Spec{Contents: `{{ with secret "secret/app" "k=v" }}{{ .Data }}{{ end }}`}, nil, until + " PATHS revoke", vault.ErrDenied},
		{"list allowed for the folder's name with a slash", template.Spec{Contents: `{{ secrets "secret/folder" }}`}, nil, until + " paths outputs revoke", nil},
		{"list denied", template.Spec{Contents: `{{ secrets "secret/elsewhere" }}`}, nil, until + " PATHS revoke", vault.ErrDenied},
		{"destination not writable", template.Spec{Destination: "/proc/none/out"}, nil, until + " paths OUTPUTS revoke", template.ErrWrite},
		{"sink not writable", template.Spec{}, func(_ *testing.T, j *Job, _ *vaulttest.Server) {
			j.Sinks = []sink.Sink{unwritable{&keeper{name: "ro"}}}
		}, until + " paths OUTPUTS revoke", sink.ErrWrite},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, s, dest := job(t, c.spec)
			if c.prep != nil {
				c.prep(t, &j, s)
			}
			got, err := prove(t, j)
			if got != c.want {
				t.Errorf("steps %q, want %q (%v)", got, c.want, err)
			}
			if !errors.Is(err, c.kind) || (err == nil) != (c.kind == nil) {
				t.Errorf("error is %v", err)
			}
			if content(dest) != "" || s.Count("GET", "secret/data/app") != 0 {
				t.Error("a secret was read or a file was written")
			}
			if entries, _ := filepath.Glob(filepath.Join(filepath.Dir(dest), ".*")); strings.Contains(dest, t.Name()) && len(entries) > 0 {
				t.Errorf("left behind: %v", entries)
			}
		})
	}
}

type unwritable struct{ *keeper }

func (unwritable) Check() error { return errors.New("read-only") }

func TestTheCheckSaysWhoVouchesForTheServer(t *testing.T) {
	s := vaulttest.New(t, vaulttest.WithTLS())
	for _, c := range []struct {
		name string
		cfg  vault.Config
		want string
		kind error
	}{
		{"its CA", vault.Config{CACertPEM: s.CA.PEM}, ", verified for its IP address by CA ", nil},
		{"its CA, by name", vault.Config{CACertPEM: s.CA.PEM, TLSServerName: "localhost"}, ", verified for localhost by CA ", nil},
		{"nobody asked", vault.Config{SkipVerify: true}, ", NOT VERIFIED (tls_skip_verify)", nil},
		{"nobody", vault.Config{}, "", vault.ErrInsecure},
	} {
		c.cfg.Address = s.Addr()
		client, err := vault.New(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		var tls Step
		_ = Online{Client: client}.Run(t.Context(), func(st Step) {
			if st.Name == "tls" {
				tls = st
			}
		})
		if !strings.Contains(tls.Detail, c.want) || !errors.Is(tls.Err, c.kind) || (tls.Err == nil) != (c.kind == nil) {
			t.Errorf("%s: %q %v", c.name, tls.Detail, tls.Err)
		}
		_ = client.Close()
	}
}
