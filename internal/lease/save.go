package lease

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// Store keeps records from one process to the next. No call blocks on a disk.
type Store interface {
	// Put writes value in place of what was there, and keeps it.
	Put(key string, value []byte)
	Delete(key string)
	// Each calls f with all there is, in no order.
	Each(f func(key string, value []byte))
	Clear()
}

// record is an answer as a Store has it, under its request's key. It holds
// secrets in clear: the Store seals them.
type record struct {
	V       int // recordVersion
	Request cred.Request
	// Owner is the accessor of the token that asked.
	Owner   string
	Kind    kind
	From    time.Time
	End     time.Time
	Granted time.Duration
	Lease   cred.Lease
	Data    json.RawMessage
	Token   *tokenRecord `json:",omitempty"`
}

// tokenRecord is a token that an answer carries.
type tokenRecord struct {
	Value, Accessor, Type, EntityID, Namespace string
	Policies                                   []string
	Metadata                                   map[string]string
	Orphan                                     bool
	Uses                                       int
	Lease                                      cred.Lease
}

// recordVersion is that of record: a process takes back only its own kind.
const recordVersion = 1

// kept reports whether an answer is one that ends with a lease or a token, for
// which asking again would make another.
func (c *content) kept() bool {
	return (c.term.kind == leased || c.term.kind == token) && c.wrap == nil
}

// newRecord makes a record of an answer; err is that of a body JSON cannot hold.
func newRecord(req cred.Request, c *content, granted time.Duration, owner string) ([]byte, error) {
	r := record{
		V: recordVersion, Request: req, Owner: owner, Kind: c.term.kind,
		From: c.term.from, End: c.term.end, Granted: granted, Lease: c.lease, Data: c.data,
	}
	r.Lease.Renewable = c.term.renewable
	if t := c.auth; t != nil {
		r.Token = &tokenRecord{
			Value: t.Value.Reveal(), Accessor: t.Accessor, Type: t.Type, EntityID: t.EntityID, Namespace: t.Namespace,
			Policies: t.Policies, Metadata: t.Metadata, Orphan: t.Orphan, Uses: t.Uses, Lease: t.Lease,
		}
	}
	return json.Marshal(r)
}

// readRecord makes an entry of a record that was put under key and lives at now.
func readRecord(key string, value []byte, now time.Time) (*entry, error) {
	var r record
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	if err := dec.Decode(&r); err != nil {
		return nil, fmt.Errorf("no record: %w", err)
	}
	switch {
	case r.V != recordVersion:
		return nil, fmt.Errorf("a record of version %d", r.V)
	case r.Request.Key() != key:
		return nil, errors.New("a record of another request")
	case r.Kind != leased && r.Kind != token, r.Kind == leased && r.Lease.ID == "", r.Kind == token && r.Token == nil:
		return nil, errors.New("a record without a lease")
	case !r.From.Before(r.End), r.From.After(now.Add(slack)):
		// By a clock that was set back nobody knows how long it lasts.
		return nil, errors.New("a record of the future")
	case !now.Before(r.End):
		return nil, errors.New("it is over")
	}
	e := &entry{slot: slot{index: away}, key: key, req: r.Request, has: true, granted: r.Granted, owner: r.Owner, restored: true, saved: true}
	e.data, e.lease = r.Data, r.Lease
	e.term = term{kind: r.Kind, from: r.From, end: r.End, renewable: r.Kind == leased && r.Lease.Renewable, bound: true}
	if t := r.Token; t != nil {
		e.auth = &cred.Token{
			Value: cred.Redact(t.Value), Accessor: t.Accessor, Type: t.Type, EntityID: t.EntityID, Namespace: t.Namespace,
			Policies: t.Policies, Metadata: t.Metadata, Orphan: t.Orphan, Uses: t.Uses, Lease: t.Lease,
		}
		e.term.bound = r.Kind == leased || !t.Orphan
	}
	return e, nil
}

// slack is how far two clocks, or one and itself a moment later, may differ.
const slack = 2 * time.Second

// Save keeps an answer that has a lease, or carries a token, for the next process
// to hold on to (Manager.Restore); owner is the accessor of the token that asked.
// It does nothing for any other answer, and for a request that is Fresh. What
// cannot be kept is asked for again, so that there is no error.
func Save(store Store, owner string, req cred.Request, s *cred.Secret) {
	c, err := pack(s)
	if err != nil || req.Fresh || !c.kept() {
		return
	}
	if value, err := newRecord(req, &c, c.lease.Duration, owner); err == nil {
		store.Put(req.Key(), value)
	}
}

// Restore takes back from Options.Store what lives at now, and returns how many
// that are; call it before Use. The token of the first Use decides: what ended with
// another is let go, and fetched when somebody asks for it; what can be renewed is
// renewed at once, by Keep, and given to nobody before that went well or the server
// turned out to be away.
func (m *Manager) Restore(now time.Time) int {
	if m.o.Store == nil {
		return 0
	}
	now = cred.Wall(now)
	var found []*entry
	var bad []string
	m.o.Store.Each(func(key string, value []byte) {
		if e, err := readRecord(key, value, now); err == nil {
			found = append(found, e)
		} else {
			m.o.Log.Debug("a kept answer is not used", "error", err)
			bad = append(bad, key)
		}
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range bad {
		m.o.Store.Delete(key)
	}
	n := 0
	for _, e := range found {
		if m.entries[e.key] != nil {
			continue
		}
		m.entries[e.key] = e
		e.act, e.due = e.term.next(m.rules, luck())
		m.queue.put(e)
		n++
	}
	m.count()
	m.nudge()
	return n
}

// prove has a restored entry shown to be known to the server, where that can be.
// The lock is held.
func (m *Manager) prove(e *entry, now time.Time) {
	if e.restored = false; e.term.renewable {
		e.unproven, e.act, e.due = true, renew, now
		m.board(e)
	}
}

// proven takes in what the renewal of an unproven entry came to, and reports
// whether it is still held. The lock is held.
func (m *Manager) proven(e *entry, err error) bool {
	switch {
	case err != nil && (lost(err) || errors.Is(err, vault.ErrInvalidToken)):
		m.o.Log.Info("the server does not know a kept lease any more: it is fetched when it is needed", "request", e.req.String(), "error", err)
		m.forget(e)
		return false
	case vault.Temporary(err):
		// The server is away: what is known is better than nothing.
		for _, other := range m.entries {
			m.trust(other)
		}
	default:
		m.trust(e)
	}
	return true
}

// trust lets an entry be given. The lock is held.
func (m *Manager) trust(e *entry) {
	if e.unproven {
		e.unproven = false
		m.arrive(e, cred.Result{}, false)
	}
}

// forget lets go of an entry of which the server knows nothing, for who waits for
// it to ask himself. The lock is held.
func (m *Manager) forget(e *entry) {
	m.drop(e)
	m.arrive(e, cred.Result{}, true)
}

// save writes an entry through to the store, or takes it out. The lock is held.
func (m *Manager) save(e *entry) {
	if m.o.Store == nil {
		return
	}
	if !e.has || !e.kept() {
		m.unsave(e)
		return
	}
	value, err := newRecord(e.req, &e.content, e.granted, e.owner)
	if err != nil {
		m.o.Log.Debug("an answer cannot be kept for the next process", "request", e.req.String(), "error", err)
		m.unsave(e)
		return
	}
	m.o.Store.Put(e.key, value)
	e.saved = true
}

// unsave takes an entry out of the store. The lock is held.
func (m *Manager) unsave(e *entry) {
	if e.saved {
		m.o.Store.Delete(e.key)
		e.saved = false
	}
}
