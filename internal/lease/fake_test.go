package lease

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a Vault in memory: what stands at a path is a thing; everything that
// is asked is counted.
type server struct {
	mu     sync.Mutex
	things map[string]*thing
	leases map[string]*grant
	counts map[string]int // "read path", "version path", "renew path"
	serial int
	// down, unless nil, is the answer to everything.
	down error
	// delay is how long each answer takes; together is the most at a time.
	delay             time.Duration
	together, atOnce  int
	tokens            int
	revoked           map[int]bool
	failing           map[string]error // by path
	renewalsForbidden error
}

// thing is what stands at a path.
type thing struct {
	// value is the content of what is static; version counts it.
	value   string
	version int
	kv2     bool
	// noMeta is a policy that does not allow the metadata.
	noMeta  bool
	deleted bool
	// ttl makes it leased, and max bounds renewing; 0 is not renewable.
	ttl, max time.Duration
	// extra is data beside.
	extra map[string]any
	auth  *cred.Token
	hint  time.Duration
}

type grant struct {
	path    string
	token   int
	issued  time.Time
	expires time.Time
	ttl     time.Duration
	max     time.Duration
}

func newServer() *server {
	return &server{
		things: map[string]*thing{}, leases: map[string]*grant{}, counts: map[string]int{},
		revoked: map[int]bool{}, failing: map[string]error{},
	}
}

func (s *server) set(path string, t thing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.things[path] = &t
}

// change gives what is static another content.
func (s *server) change(path, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.things[path]
	t.value, t.deleted = value, false
	t.version++
}

func (s *server) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *server) count(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for what, c := range s.counts {
		if strings.HasPrefix(what, prefix) {
			n += c
		}
	}
	return n
}

// asked is what was counted, for people.
func (s *server) asked() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.counts)
}

func (s *server) resetCounts() { s.do(func() { clear(s.counts) }) }

// login gives an identity with a token of its own.
func (s *server) login() *identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens++
	return &identity{s, s.tokens}
}

type identity struct {
	s     *server
	token int
}

func refusal(kind error, status int, words ...string) error {
	return &vault.Error{Kind: kind, Op: "ask", Path: "x", Status: status, Messages: words}
}

var (
	errSealed  = refusal(vault.ErrSealed, 503, "Vault is sealed")
	errGone    = &vault.Error{Kind: vault.ErrUnreachable, Op: "ask", Path: "x", Cause: fmt.Errorf("connection refused")}
	errDenied  = refusal(vault.ErrDenied, 403, "permission denied")
	errInvalid = refusal(vault.ErrInvalidToken, 403, "permission denied", "invalid token")
	errMissing = refusal(vault.ErrNotFound, 404)
	errBroken  = refusal(vault.ErrServer, 500, "dial database: connection refused")
	errNoLease = refusal(vault.ErrBadRequest, 400, "lease not found")
	errNoRenew = refusal(vault.ErrBadRequest, 400, "lease is not renewable")
)

// enter is what every request goes through; it returns with the lock held.
func (i *identity) enter(ctx context.Context, what string) error {
	s := i.s
	s.mu.Lock()
	s.counts[what]++
	s.atOnce++
	s.together = max(s.together, s.atOnce)
	if s.delay > 0 {
		d := s.delay
		s.mu.Unlock()
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		s.mu.Lock()
	}
	s.atOnce--
	_, path, _ := strings.Cut(what, " ")
	switch {
	case ctx.Err() != nil:
		return &vault.Error{Kind: vault.ErrUnreachable, Op: "ask", Path: "x", Cause: ctx.Err()}
	case s.down != nil:
		return s.down
	case s.revoked[i.token]:
		return errInvalid
	}
	return s.failing[path]
}

func (i *identity) ReadEach(ctx context.Context, reqs []cred.Request, each func(int, cred.Result)) {
	for n, req := range reqs {
		each(n, i.read(ctx, req))
	}
}

func (i *identity) read(ctx context.Context, req cred.Request) cred.Result {
	s := i.s
	err := i.enter(ctx, "read "+req.Path)
	defer s.mu.Unlock()
	if err != nil {
		return cred.Result{Err: err}
	}
	t := s.things[req.Path]
	if t == nil || t.deleted {
		return cred.Result{Err: errMissing}
	}
	s.serial++
	now := cred.Wall(time.Now())
	out := &cred.Secret{RequestID: fmt.Sprint(s.serial), Auth: t.auth, Lease: cred.Lease{Issued: now, Duration: t.hint}}
	switch {
	case t.ttl > 0:
		id := fmt.Sprintf("%s/%d", req.Path, s.serial)
		out.Lease = cred.Lease{ID: id, Duration: t.ttl, Renewable: t.max > 0, Issued: now}
		out.Data = map[string]any{"password": id}
		s.leases[id] = &grant{path: req.Path, token: i.token, issued: now, expires: now.Add(t.ttl), ttl: t.ttl, max: t.max}
	case t.kv2:
		out.Data = map[string]any{"data": map[string]any{"value": t.value}, "metadata": t.metadata()}
	default:
		out.Data = map[string]any{"value": t.value}
	}
	maps.Copy(out.Data, t.extra)
	return cred.Result{Secret: out}
}

// metadata is that of the newest version; the lock is held.
func (t *thing) metadata() map[string]any {
	return map[string]any{
		"version": json.Number(fmt.Sprint(t.version)), "created_time": time.Unix(int64(t.version), 0).UTC().Format(time.RFC3339Nano),
		"deletion_time": "", "destroyed": false, "custom_metadata": nil,
	}
}

func (i *identity) Version(ctx context.Context, req cred.Request) (string, bool, error) {
	s := i.s
	err := i.enter(ctx, "version "+req.Path)
	defer s.mu.Unlock()
	t := s.things[req.Path]
	switch {
	case err != nil:
		return "", false, err
	case t == nil || t.deleted:
		return "", true, nil
	case t.noMeta || !t.kv2:
		return "", false, nil
	}
	secret := cred.Secret{Data: map[string]any{"metadata": t.metadata()}}
	return secret.Version(time.Now()), true, nil
}

func (i *identity) Renew(ctx context.Context, id string, increment time.Duration) (cred.Lease, error) {
	s := i.s
	path := id[:strings.LastIndexByte(id, '/')]
	err := i.enter(ctx, "renew "+path)
	defer s.mu.Unlock()
	now := cred.Wall(time.Now())
	g := s.leases[id]
	switch {
	case err != nil:
		return cred.Lease{}, err
	case s.renewalsForbidden != nil:
		return cred.Lease{}, s.renewalsForbidden
	case g == nil || !now.Before(g.expires) || s.revoked[g.token]:
		return cred.Lease{}, errNoLease
	case g.max == 0:
		return cred.Lease{}, errNoRenew
	}
	d := min(increment, g.issued.Add(g.max).Sub(now)).Truncate(time.Second)
	g.expires = now.Add(d)
	return cred.Lease{ID: id, Duration: d, Renewable: true, Issued: now}, nil
}

// alive reports whether a lease is good at the server.
func (s *server) alive(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.leases[id]
	return g != nil && time.Now().Before(g.expires) && !s.revoked[g.token]
}

// journal is a log that tests look into.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler       { return j }
func (j *journal) WithGroup(string) slog.Handler            { return j }
func (j *journal) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	return nil
}

func (j *journal) count(part string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range j.lines {
		if strings.Contains(l, part) {
			n++
		}
	}
	return n
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "\n")
}

// house is a manager that runs, with who uses it.
type house struct {
	*Manager
	s    *server
	log  *journal
	stop func() error

	mu      sync.Mutex
	changes map[string]int // by key
}

// run starts a manager with a first identity; the test ends it.
func run(t *testing.T, s *server, o Options) *house {
	t.Helper()
	h := &house{s: s, log: &journal{}, changes: map[string]int{}}
	o.Log = slog.New(h.log)
	h.Manager = New(o)
	h.Use(s.login())
	h.keep(t)
	return h
}

func (h *house) keep(t *testing.T) { h.keepWith(t, h.changed) }

func (h *house) keepWith(t *testing.T, changed func([]string)) {
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Keep(ctx, changed) }()
	h.stop = sync.OnceValue(func() error { cancel(errStop); return <-ended })
	t.Cleanup(func() { _ = h.stop() })
}

var errStop = fmt.Errorf("the test is over")

func (h *house) changed(keys []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range keys {
		h.changes[k]++
	}
}

func (h *house) moves(path string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes[cred.Request{Path: path}.Key()]
}

func (h *house) allMoves() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.changes {
		n += c
	}
	return n
}

func (h *house) get(t *testing.T, path string) *cred.Secret {
	t.Helper()
	res := h.ReadAll(t.Context(), []cred.Request{{Path: path}})[0]
	if res.Err != nil {
		t.Fatalf("%s: %v\n%s", path, res.Err, h.log)
	}
	return res.Secret
}

func (h *house) entry(path string) Entry {
	for _, e := range h.Entries() {
		if e.What == "read "+path {
			return e
		}
	}
	return Entry{}
}

func paths(things map[string]*thing) []string { return slices.Sorted(maps.Keys(things)) }

// tarpit answers everything but some paths.
type tarpit struct {
	Identity
	prefix string
}

func (p *tarpit) ReadEach(ctx context.Context, reqs []cred.Request, each func(int, cred.Result)) {
	if !strings.HasPrefix(reqs[0].Path, p.prefix) {
		p.Identity.ReadEach(ctx, reqs, each)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	<-ctx.Done()
	each(0, cred.Result{Err: &vault.Error{Kind: vault.ErrUnreachable, Op: "read", Path: reqs[0].Path, Cause: ctx.Err()}})
}

func number64(n int64) json.Number { return json.Number(fmt.Sprint(n)) }

// lateRenewal answers a renewal after half a minute, one way or another.
type lateRenewal struct {
	Identity
	err error
}

func (l *lateRenewal) Renew(ctx context.Context, id string, d time.Duration) (cred.Lease, error) {
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return cred.Lease{}, ctx.Err()
	}
	return cred.Lease{ID: id, Duration: d, Renewable: true, Issued: cred.Wall(time.Now())}, l.err
}
