package lease_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/lease"
	"latchkey/internal/persist"
	"latchkey/internal/reader"
	"latchkey/internal/vault"
	"latchkey/internal/vaulttest"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// identity is a server as one token sees it.
type identity struct {
	*reader.Reader
	c        *vault.Client
	accessor string
}

func (i identity) Accessor() string { return i.accessor }

func (i identity) Renew(ctx context.Context, id string, d time.Duration) (cred.Lease, error) {
	return i.c.RenewLease(ctx, id, d)
}

func identify(t *testing.T, c *vault.Client, value cred.Redacted, fleeting bool) identity {
	t.Helper()
	c = c.As(value)
	tok, err := c.LookupSelf(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return identity{reader.New(c, reader.Options{Fleeting: fleeting, Log: quiet()}), c, tok.Accessor}
}

func kept(t *testing.T, path string) *persist.File {
	t.Helper()
	f, err := persist.Open(persist.Options{
		Path: path, Key: func() ([]byte, error) { return []byte("a service account's token"), nil }, Log: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// second is a process that stays: it takes back what is kept, and reads.
func second(t *testing.T, f *persist.File, id lease.Identity, reqs []cred.Request) []cred.Result {
	t.Helper()
	m := lease.New(lease.Options{Log: quiet(), Store: f.Bucket("lease")})
	m.Restore(time.Now())
	m.Use(id)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = m.Keep(ctx, func([]string) {}) })
	out := m.ReadAll(ctx, reqs)
	cancel()
	wg.Wait()
	return out
}

// An init container and its sidecar: the credentials that the application started
// with are the ones that are renewed (vault-k8s issues 125 and 278).
func TestASidecarRenewsTheLeaseOfItsInitContainer(t *testing.T) {
	s := vaulttest.New(t)
	admin := s.Admin(t)
	admin.Mount("mq", "rabbitmq", nil)
	admin.OK("POST", "mq/config/connection", vaulttest.Map{"connection_uri": "http://127.0.0.1:1", "username": "u", "password": "p", "verify_connection": false})
	admin.OK("POST", "mq/config/lease", vaulttest.Map{"ttl": 600, "max_ttl": 6000})
	admin.OK("POST", "mq/roles/app", vaulttest.Map{"tags": "administrator"})
	admin.Policy("app", map[string][]string{"mq/creds/*": {"read"}})
	newToken := func() cred.Redacted { return cred.Redact(admin.NewToken(vaulttest.Map{"policies": []string{"app"}})) }
	c, err := vault.New(vault.Config{Address: s.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	path := filepath.Join(t.TempDir(), "latchkey-cache.db")
	reqs := []cred.Request{{Path: "mq/creds/app"}}

	// The init container logs in, renders, and keeps what it got.
	f, value := kept(t, path), newToken()
	id := identify(t, c, value, false)
	first := id.ReadAll(t.Context(), reqs)[0]
	if first.Err != nil {
		t.Fatal(first.Err)
	}
	for _, l := range id.Leased() {
		lease.Save(f.Bucket("lease"), id.accessor, l.Request, l.Secret)
	}
	if err := f.Handover("default").Save(cred.Token{Value: value}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	// The sidecar goes on with the token and the lease.
	s.Advance(3 * time.Minute)
	f = kept(t, path)
	if value, err = f.Handover("default").Load(); err != nil || value.Empty() {
		t.Fatalf("the token is %v, %v", value, err)
	}
	next := second(t, f, identify(t, c, value, true), reqs)[0]
	if next.Err != nil || next.Secret.Lease.ID != first.Secret.Lease.ID || next.Secret.Data["password"] != first.Secret.Data["password"] {
		t.Fatalf("%v: %v became %v", next.Err, first.Secret, next.Secret)
	}
	if left := next.Secret.Lease.Left(time.Now()); left < 9*time.Minute || s.Count("GET", "mq/creds/app") != 1 || s.Count("PUT", "sys/leases/renew") != 1 {
		t.Errorf("%v left, %d reads, %d renewals", left, s.Count("GET", "mq/creds/app"), s.Count("PUT", "sys/leases/renew"))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	// One that has another token makes a lease of its own.
	f = kept(t, path)
	other := second(t, f, identify(t, c, newToken(), true), reqs)[0]
	if other.Err != nil || other.Secret.Lease.ID == first.Secret.Lease.ID {
		t.Errorf("%v, %v", other.Err, other.Secret)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	// And where the token was revoked meanwhile, nothing of it is given.
	admin.Revoke(value.Reveal())
	f = kept(t, path)
	lease.Save(f.Bucket("lease"), id.accessor, reqs[0], first.Secret)
	late := second(t, f, identify(t, c, newToken(), true), reqs)[0]
	if late.Err != nil || late.Secret.Lease.ID == first.Secret.Lease.ID {
		t.Errorf("%v, %v", late.Err, late.Secret)
	}
}
