package daemonmode_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/vaulttest"
)

const keeping = `
auto_auth {
  method "approle" {
    config = { role_id_file_path = "DIR/role_id", secret_id_file_path = "DIR/secret_id", remove_secret_id_file_after_reading = false }
  }
  sink "file" { config = { path = "DIR/token" } }
}
template_config { static_secret_render_interval = "INTERVAL" }
template {
  contents    = "{{ with secret \"secret/app\" }}{{ .Data.data.password }}{{ end }}"
  destination = "DIR/app"
}
template {
  contents    = "{{ with secret \"secret/other\" }}{{ .Data.data.password }}{{ end }}"
  destination = "DIR/other"
}
`

// TestADayOfADaemon is TestADaemonThroughTroubles with hours as hours. The race
// detector of Go 1.26 crashes when a bubble does so much (golang/go#78156), so
// that it is run without.
func TestADayOfADaemon(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector does not survive a simulated day (golang/go#78156); 'make unit' runs this without it")
	}
	troubles(t, time.Hour, "5m")
}

func TestADaemonThroughTroubles(t *testing.T) { troubles(t, time.Minute, "5s") }

// troubles lets 24 hours of some length pass: a token of one hour that lives four
// at most, a secret that changes, an outage of a quarter, a token that somebody
// revokes, a file that somebody removes.
func troubles(t *testing.T, hour time.Duration, interval string) {
	server := vaulttest.New(t)
	admin := server.Admin(t)
	admin.Policy("app", map[string][]string{"secret/data/*": {"read"}, "secret/metadata/*": {"read"}})
	admin.WriteKV2("secret", "app", vaulttest.Map{"password": "first"})
	admin.WriteKV2("secret", "other", vaulttest.Map{"password": "steady"})
	admin.EnableAuth("approle", "approle")
	roleID := admin.AppRole("approle", "app", vaulttest.Map{
		"token_ttl": hour.String(), "token_max_ttl": (4 * hour).String(), "token_policies": "app", "secret_id_ttl": "0", "secret_id_num_uses": 0,
	})
	credentials := map[string]string{"role_id": roleID, "secret_id": admin.SecretID("approle", "app")}
	simulate(t, server, credentials, strings.ReplaceAll(keeping, "INTERVAL", interval), func(s *simulation) {
		good := func(at string) {
			s.t.Helper()
			tok := s.read("token")
			if ans := admin.As(tok).Do("GET", "auth/token/lookup-self", nil); ans.Status != http.StatusOK {
				s.t.Errorf("%s: the sink's token is answered %d", at, ans.Status)
			}
			if got := s.read("other"); got != "steady" {
				s.t.Errorf("%s: other is %q", at, got)
			}
		}
		begin := time.Now()
		until := func(h float64) { time.Sleep(time.Until(begin.Add(time.Duration(h * float64(hour))))) }

		until(0.1)
		good("after the start")
		for h := 0.5; h < 5; h += 0.5 {
			until(h)
			good(fmt.Sprintf("hour %.1f", h))
		}
		until(6)
		admin.WriteKV2("secret", "app", vaulttest.Map{"password": "second"})
		until(6.1)
		if got := s.read("app"); got != "second" {
			s.t.Errorf("the file has %q after the secret changed", got)
		}

		stop := server.Rude(vaulttest.Match{}, vaulttest.Rudeness{Status: http.StatusServiceUnavailable})
		until(6.35) // less than what is left of a token when it should be renewed
		if got := s.read("app"); got != "second" {
			s.t.Errorf("the outage left %q", got)
		}
		stop()
		until(8)
		good("after the outage")

		admin.Revoke(s.read("token"))
		until(8.3) // the next look at a secret tells
		good("after the token was revoked")

		if err := os.Remove(filepath.Join(s.dir, "token")); err != nil {
			s.t.Error(err)
		}
		time.Sleep(5 * time.Second)
		good("after the sink's file was removed")
		until(24)
		good("at the end of the day")

		logins := server.Count("PUT", "auth/approle/login")
		renewals := server.Count("PUT", "auth/token/renew-self")
		looks := len(server.Requests()) - logins - renewals
		s.t.Logf("%d logins, %d renewals, %d other requests", logins, renewals, looks)
		// Lives of four hours and a bit, one revoked; five renewals each; a look at
		// each of two secrets every four and a half minutes.
		if logins < 6 || logins > 10 || renewals < 20 || renewals > 60 || looks > 2*24*60/4+150 {
			s.t.Errorf("%d logins, %d renewals, %d other requests in a day", logins, renewals, looks)
		}
	})
}
