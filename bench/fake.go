package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	vault "latchkey/e2e/server"
)

// fake stands for the server where a round needs very many secrets soon, or has
// to hold an answer back: a login, a KV version 2 mount at secret/ and a leased
// engine at creds/, with whatever is asked of them. It counts what is asked for.
type fake struct {
	*httptest.Server
	reads atomic.Int64 // of secrets

	mu   sync.Mutex
	hold map[string]chan struct{} // paths whose answer waits until this is closed
	seen map[string]int           // requests for those
}

// entrySize is the size of the body of each secret.
const entrySize = 1024

func startFake() *fake {
	f := &fake{hold: map[string]chan struct{}{}, seen: map[string]int{}}
	f.Server = httptest.NewServer(http.HandlerFunc(f.answer))
	return f
}

// seeded is the fake as the programs see a server, with credentials in dir.
func (f *fake) seeded(dir string) (*seeded, error) {
	for _, name := range []string{"role_id", "secret_id"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			return nil, err
		}
	}
	return &seeded{Server: &vault.Server{Addr: f.URL}, dir: dir}, nil
}

// holdBack holds the answer to path back until release is called; asked is how
// often path was asked for.
func (f *fake) holdBack(path string) (asked func() int, release func()) {
	gate := make(chan struct{})
	f.mu.Lock()
	f.hold[path] = gate
	f.mu.Unlock()
	return func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.seen[path]
	}, sync.OnceFunc(func() { close(gate) })
}

func (f *fake) answer(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	f.mu.Lock()
	gate := f.hold[path]
	if gate != nil {
		f.seen[path]++
	}
	f.mu.Unlock()
	if gate != nil {
		<-gate
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	switch rest := strings.TrimPrefix(path, "/v1/"); {
	case strings.HasPrefix(rest, "secret/data/"), strings.HasPrefix(rest, "creds/"):
		f.reads.Add(1)
		_, _ = w.Write(secretBody(rest))
	case strings.HasPrefix(rest, "secret/metadata/"):
		say(w, `"data":{"current_version":1,"oldest_version":1,"versions":{"1":{"created_time":"2026-01-01T00:00:00Z","deletion_time":"","destroyed":false}}}`)
	case strings.HasPrefix(rest, "sys/internal/ui/mounts/secret"):
		say(w, `"data":{"type":"kv","path":"secret/","options":{"version":"2"}}`)
	case strings.HasPrefix(rest, "sys/internal/ui/mounts/"):
		say(w, `"data":{"type":"rabbitmq","path":"creds/","options":null}`)
	case rest == "auth/approle/login", rest == "auth/token/renew-self":
		say(w, `"auth":{"client_token":"hvs.fake","accessor":"fake","policies":["default"],"token_policies":["default"],"lease_duration":86400,"renewable":true,"token_type":"service","orphan":true,"num_uses":0}`)
	case strings.HasPrefix(rest, "auth/token/lookup"):
		say(w, `"data":{"id":"hvs.fake","accessor":"fake","policies":["default"],"ttl":86400,"creation_ttl":86400,"renewable":true,"type":"service","orphan":true,"num_uses":0,"path":"auth/approle/login"}`)
	case strings.HasPrefix(rest, "sys/capabilities"):
		var ask struct{ Paths []string }
		_ = json.NewDecoder(r.Body).Decode(&ask)
		can := map[string][]string{}
		for _, p := range ask.Paths {
			can[p] = []string{"read"}
		}
		if len(ask.Paths) == 1 {
			can["capabilities"] = []string{"read"}
		}
		data, _ := json.Marshal(can)
		say(w, `"data":`+string(data))
	case rest == "sys/leases/renew":
		say(w, `"lease_id":"creds/renewed","renewable":true,"lease_duration":86400`)
	case rest == "sys/health":
		_, _ = fmt.Fprint(w, `{"initialized":true,"sealed":false,"standby":false,"version":"1.21.0"}`)
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, `{"errors":[]}`)
	}
}

func say(w http.ResponseWriter, what string) {
	_, _ = fmt.Fprintf(w, `{"request_id":"00000000-0000-4000-8000-000000000000",%s}`, what)
}

// secretBody is the whole answer for a secret, entrySize bytes. The value says
// whose it is.
func secretBody(path string) []byte {
	var head, foot string
	if strings.HasPrefix(path, "creds/") {
		head = fmt.Sprintf(`{"request_id":"00000000-0000-4000-8000-000000000000","lease_id":"%s/lease","renewable":true,"lease_duration":86400,"data":{"username":%q,"password":"`, path, path)
		foot = `"},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"rabbitmq"}` + "\n"
	} else {
		head = fmt.Sprintf(`{"request_id":"00000000-0000-4000-8000-000000000000","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"username":%q,"password":"`, path)
		foot = `"},"metadata":{"created_time":"2026-01-01T00:00:00.000000000Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}` + "\n"
	}
	return []byte(head + strings.Repeat("x", entrySize-len(head)-len(foot)) + foot)
}
