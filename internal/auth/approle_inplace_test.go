package auth

import (
	"os"
	"testing"
)

func TestAppRoleTakesValuesInPlace(t *testing.T) {
	p, s := newPlace(t), newServer(t, grant)
	for name, values := range map[string]map[string]any{
		"both":            {"role_id": "canary-role", "secret_id": " canary-secret\n"},
		"the first":       {"role_id": "canary-role", "secret_id_file_path": p.secret, "remove_secret_id_file_after_reading": false},
		"the second":      {"role_id_file_path": p.role, "secret_id": "canary-secret"},
		"and again empty": {"role_id": "canary-role", "role_id_file_path": "", "secret_id": "canary-secret", "secret_id_file_path": ""},
	} {
		m, log := build(t, AppRole, "approle", values)
		for range 2 {
			mustLogin(t, m, s.client(t))
		}
		for _, c := range s.seen() {
			if c.Body["role_id"] != "canary-role" || c.Body["secret_id"] != "canary-secret" {
				t.Errorf("%s: the server saw %v", name, c)
			}
		}
		quiet(t, log.String())
	}
	m, _ := build(t, AppRole, "approle", map[string]any{"role_id": "canary-role"})
	mustLogin(t, m, s.client(t))
	if calls := s.seen(); len(calls[0].Body) != 1 {
		t.Errorf("the server saw %v", calls)
	}
}

func TestAppRoleUnwrapsASecretIDInPlaceOnce(t *testing.T) {
	s := vaultWithWrapping(t, creation)
	m, log := build(t, AppRole, "approle", map[string]any{"role_id": "canary-role", "secret_id": "canary-wrapping", "secret_id_response_wrapping_path": creation})
	mustLogin(t, m, s.client(t))
	mustLogin(t, m, s.client(t))
	calls := s.seen()
	if paths(calls) != "sys/wrapping/lookup sys/wrapping/unwrap auth/approle/login auth/approle/login" || calls[3].Body["secret_id"] != "secret-of-canary-wrapping" {
		t.Errorf("the server saw %v", calls)
	}
	quiet(t, log.String())
}

func TestAppRoleInPlaceAtFault(t *testing.T) {
	for name, values := range map[string]map[string]any{
		"role_id twice":       {"role_id": "canary", "role_id_file_path": "x"},
		"secret_id twice":     {"role_id": "canary", "secret_id": "canary", "secret_id_file_path": "x"},
		"secret_id alone":     {"secret_id": "canary"},
		"empty wrapping path": {"role_id": "canary", "secret_id": "canary", "secret_id_response_wrapping_path": ""},
	} {
		_, err := AppRole(options("approle", values, os.Stderr))
		if !isProblem(err) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		quiet(t, err.Error())
	}
}
