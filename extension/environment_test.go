package extension

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/envwire"
)

func TestWhatGoesOutOfAFunctionsEnvironment(t *testing.T) {
	environ := []string{
		"VAULT_ROLE=x", "VAULT_ADDR=http://127.0.0.1:8200", "BAO_ADDR=https://vault.example.com", "VAULT_SECRET_PATH_DB=a", "VAULT_SECRET_PATH_KEPT=b",
		"VAULT_TOKEN=function's", "HOME=x", "PASSWORD=vault:a#b", "VAULT_ENV_FROM_PATH=kv/app", "LATCHKEY_X=y",
	}
	h := handOver{
		Environ: environ, Own: []string{"VAULT_ROLE", "VAULT_ADDR", "BAO_ADDR", "VAULT_SECRET_PATH_*", "LATCHKEY_*"},
		Keep: []string{"VAULT_SECRET_PATH_KEPT"}, Names: []string{"PASSWORD"},
		Values: map[string]cred.Redacted{"PASSWORD": cred.Redact("secret"), "EMPTY": {}},
	}
	a := h.answer()
	want := []string{"BAO_ADDR", "LATCHKEY_X", "PASSWORD", "VAULT_ENV_FROM_PATH", "VAULT_ROLE", "VAULT_SECRET_PATH_DB"}
	for _, entry := range environ {
		name, _, _ := cut(entry)
		if gone := envwire.Matches(a.Unset, name); gone != slices.Contains(want, name) {
			t.Errorf("%s is taken out: %v, by %q", name, gone, a.Unset)
		}
	}
	// What is not in the extension's environment may be in the function's.
	for name, gone := range map[string]bool{"LATCHKEY_Y": true, "VAULT_ENV_PASSTHROUGH": true, "BAO_TRANSIT_PATH": true, "VAULT_SECRET_PATH_OTHER": false, "OTHER": false} {
		if envwire.Matches(a.Unset, name) != gone {
			t.Errorf("%s is taken out: %v, by %q", name, !gone, a.Unset)
		}
	}
	slices.SortFunc(a.Set, func(x, y envwire.Pair) int { return len(x.Name) - len(y.Name) })
	if !reflect.DeepEqual(a.Set, []envwire.Pair{{Name: "EMPTY"}, {Name: "PASSWORD", Value: "secret"}}) || a.Err != "" {
		t.Errorf("%d set, %q", len(a.Set), a.Err)
	}

	h.Err = errors.New("PASSWORD: a#b: denied")
	if failed := h.answer(); failed.Err != "PASSWORD: a#b: denied" || len(failed.Set) != 0 || !slices.Equal(failed.Unset, a.Unset) {
		t.Errorf("%v: %q", failed, failed.Unset)
	}
}

func cut(entry string) (name, value string, ok bool) {
	for i := range entry {
		if entry[i] == '=' {
			return entry[:i], entry[i+1:], true
		}
	}
	return entry, "", false
}

func TestAnAddressOfThisMachineIsTheFunctions(t *testing.T) {
	for value, ours := range map[string]bool{
		"http://127.0.0.1:8200": true, "http://127.1.2.3": true, "http://localhost:8200/": true, "http://[::1]:8200": true, " http://127.0.0.1:8200 ": true,
		"https://vault.example.com:8200": false, "http://localhost.example.com": false, "http://10.0.0.1:8200": false, "": false, "::": false, "http://127.0.0.1.example.com": false, "http://127.0.0.1@example.com": false,
	} {
		if ourAddress("VAULT_ADDR", value) != ours {
			t.Errorf("%q stays: %v", value, !ours)
		}
	}
	if ourAddress("VAULT_PROXY_ADDR", "http://127.0.0.1") {
		t.Error("any variable stays that names this machine")
	}
}

func TestAnswersAreRationed(t *testing.T) {
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	var p pacer
	for i := range 6 {
		if got, want := p.take(at), max(0, time.Duration(i+1-burst)*pace); got != want {
			t.Errorf("asker %d waits %v, want %v", i, got, want)
		}
	}
	if got := p.take(at.Add(time.Hour)); got != 0 {
		t.Errorf("after an hour: %v", got)
	}
	if got := p.take(at.Add(-24 * time.Hour)); got > (askers+1)*pace {
		t.Errorf("with the clock set back a day: %v", got)
	}
}
