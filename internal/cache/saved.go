package cache

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
)

// Records are written as things happen. An answer is written once; what is small
// and changes with each renewal, the member, has a record of its own. Either may
// be lost without the other: a member without its answer is still kept alive, an
// answer without its member is none.

// savedMember is the record of a token or a lease.
type savedMember struct {
	// ID is the lease's, or the token's accessor.
	ID string `json:"id,omitempty"`
	// Token is empty for a lease.
	Token string `json:"token,omitempty"`
	// Parent is the tokenID of what it was made with, empty for none.
	Parent string   `json:"parent,omitempty"`
	Path   string   `json:"path,omitempty"`
	Space  string   `json:"space,omitempty"`
	Lent   []string `json:"lent,omitempty"`
	Past   bool     `json:"past,omitempty"`
	// Issued and Length are in nanoseconds.
	Issued    int64 `json:"issued"`
	Length    int64 `json:"length"`
	Renewable bool  `json:"renewable,omitempty"`
	// Key is the answer's, in hexadecimal digits; empty where none is given out.
	Key string `json:"key,omitempty"`
}

// savedAnswer is the record of what is given out.
type savedAnswer struct {
	Namespace string      `json:"namespace,omitempty"`
	Path      string      `json:"path"`
	Lent      string      `json:"lent,omitempty"`
	Status    int         `json:"status"`
	Header    http.Header `json:"header,omitempty"`
	Body      []byte      `json:"body"`
	At        int64       `json:"at"`
}

// The names of records begin so.
const (
	aToken   = "token/"
	aLease   = "lease/"
	anAnswer = "answer/"
)

func (m *member) recordName() string {
	if m.isToken() {
		return aToken + idOf(m.secret).String()
	}
	return aLease + m.id
}

// write puts a record, which always encodes.
func (f *family) write(name string, record any) {
	if value, err := json.Marshal(record); err == nil {
		f.c.o.Store.Put(name, value)
	}
}

// save writes m's record, if there is a store.
func (f *family) save(m *member) {
	if f.c.o.Store == nil || m.gone {
		return
	}
	r := savedMember{
		ID: m.id, Token: m.secret.Reveal(), Path: m.path, Space: m.space, Past: m.past,
		Issued: m.issued, Length: m.length, Renewable: m.renewable,
	}
	if m.parent != nil {
		r.Parent = idOf(m.parent.secret).String()
	}
	if m.served {
		r.Key = hex.EncodeToString(m.key[:])
	}
	for name, lent := range f.lent {
		if lent == m {
			r.Lent = append(r.Lent, name)
		}
	}
	slices.Sort(r.Lent)
	f.write(m.recordName(), r)
}

func (f *family) saveAnswer(m *member, at place, who exchange.Who, ans *exchange.Answer) {
	if f.c.o.Store == nil {
		return
	}
	f.write(anAnswer+hex.EncodeToString(m.key[:]), savedAnswer{
		Namespace: at.namespace, Path: at.path, Lent: who.Lent,
		Status: ans.Status, Header: ans.Header, Body: ans.Body, At: ans.At.UnixNano(),
	})
}

func (f *family) unsave(m *member) {
	if f.c.o.Store != nil {
		f.c.o.Store.Delete(m.recordName())
	}
}

func (f *family) unsaveAnswer(m *member) {
	if f.c.o.Store != nil {
		f.c.o.Store.Delete(anAnswer + hex.EncodeToString(m.key[:]))
	}
}

// Restore takes back what an earlier process left in the store: tokens first, then
// what was made with them. What is over, or makes no sense, is dropped there; of
// the rest, renewal is taken up again. It is to be called before anything else
// is, and returns how many answers are given out again.
//
// An identity of ours is believed to have the token that it had. When Adopt tells
// of another, what was restored for it is given out no more, and kept alive.
func (c *Cache) Restore(now time.Time) int {
	if c.o.Store == nil || c.o.Leases == nil {
		return 0
	}
	f := &c.family
	f.lock()
	defer f.unlock()
	r := restoring{f: f, now: now.UnixNano(), tokens: map[string]savedMember{}, answers: map[string]savedAnswer{}}
	c.o.Store.Each(r.read)
	for id := range r.tokens {
		r.token(id, 0)
	}
	for _, s := range r.leases {
		r.lease(s)
	}
	r.tidy()
	f.drain()
	return len(f.byKey)
}

// restoring is what Restore has read so far.
type restoring struct {
	f       *family
	now     int64
	names   []string
	tokens  map[string]savedMember // by tokenID
	leases  []savedMember
	answers map[string]savedAnswer // by key
}

func (r *restoring) read(name string, value []byte) {
	r.names = append(r.names, name)
	if key, ok := strings.CutPrefix(name, anAnswer); ok {
		var a savedAnswer
		if json.Unmarshal(value, &a) == nil && a.makesSense(r.now) {
			r.answers[key] = a
		}
		return
	}
	var m savedMember
	if json.Unmarshal(value, &m) != nil || !m.makesSense(r.now) {
		return
	}
	// A record stands under its own name, or is a stranger's.
	switch {
	case m.Token == "" && name == aLease+m.ID:
		r.leases = append(r.leases, m)
	case m.Token != "":
		if id := idOf(cred.Redact(m.Token)).String(); name == aToken+id {
			r.tokens[id] = m
		}
	}
}

// soon is how far ahead a record's time may be, because clocks differ.
const soon = time.Minute

func (m *savedMember) makesSense(now int64) bool {
	switch {
	case m.Issued <= 0 || m.Issued > now+int64(soon) || m.Length < 0 || m.Length > int64(longest):
		return false
	case m.Token == "" && (m.ID == "" || m.Length == 0 || m.Parent == ""):
		return false
	}
	return m.Length == 0 || m.Issued+m.Length > now
}

func (a *savedAnswer) makesSense(now int64) bool {
	return a.Status >= 200 && a.Status < 300 && json.Valid(a.Body) && a.At > 0 && a.At <= now+int64(soon)
}

// deepest is how long a line of tokens made with each other may be; a longer one
// is a circle, or bad will.
const deepest = 64

// token enters a token of the records after its parents, nil when it cannot be.
func (r *restoring) token(id string, depth int) *member {
	s, ok := r.tokens[id]
	if !ok || depth > deepest {
		return nil
	}
	tok := cred.Redact(s.Token)
	if m := r.f.byToken[idOf(tok)]; m != nil {
		return m
	}
	var parent *member
	if s.Parent != "" {
		if parent = r.token(s.Parent, depth+1); parent == nil {
			return nil
		}
	}
	m := &member{secret: tok, past: s.Past}
	r.enter(m, s, parent)
	for _, name := range s.Lent {
		if r.f.lent[name] == nil {
			r.f.lent[name] = m
			m.lenders++
		}
	}
	return m
}

func (r *restoring) lease(s savedMember) {
	if parent := r.token(s.Parent, 0); parent != nil && r.f.byLease[s.ID] == nil {
		r.enter(&member{}, s, parent)
	}
}

// enter takes a member in, gives its answer out again, and has it kept alive.
func (r *restoring) enter(m *member, s savedMember, parent *member) {
	f := r.f
	m.id, m.path, m.space = s.ID, s.Path, s.Space
	m.issued, m.length, m.renewable = s.Issued, s.Length, s.Renewable
	f.enter(m, parent)
	if m.until != 0 && m.until <= r.now {
		return // tidy takes it out again
	}
	r.serve(m, s.Key, parent)
	if len(s.Lent) == 0 && (s.Renewable || !s.Past) {
		f.keep(m, true) // it may have been revoked while no process ran
	}
}

func (r *restoring) serve(m *member, key string, parent *member) {
	a, ok := r.answers[key]
	raw, err := hex.DecodeString(key)
	if !ok || err != nil || len(raw) != len(m.key) || r.f.byKey[Key(raw)] != nil {
		return
	}
	who := exchange.Who{Lent: a.Lent}
	if parent != nil && a.Lent == "" {
		who.Token = parent.secret
	}
	ans := &exchange.Answer{
		Status: a.Status, Header: a.Header, Body: a.Body, At: time.Unix(0, a.At), From: exchange.Hit, Token: who.Token,
	}
	r.f.serve(m, Key(raw))
	if !r.f.c.put(m.key, place{namespace: a.Namespace, path: a.Path}, ans, life{ends: moment(m.until), leased: true}) {
		delete(r.f.byKey, m.key)
		m.key, m.served = Key{}, false
	}
}

// tidy takes out what turned out to be over, and the records of nothing.
func (r *restoring) tidy() {
	f := r.f
	for _, m := range f.roots() {
		r.sweep(m)
	}
	valid := map[string]bool{}
	for _, m := range f.byToken {
		valid[m.recordName()] = true
	}
	for _, m := range f.byLease {
		valid[m.recordName()] = true
	}
	for k := range f.byKey {
		valid[anAnswer+hex.EncodeToString(k[:])] = true
	}
	for _, name := range r.names {
		if !valid[name] {
			f.c.o.Store.Delete(name)
		}
	}
}

func (r *restoring) sweep(m *member) {
	r.f.below(m, func(ch *member) int { r.sweep(ch); return 0 })
	if m.until != 0 && m.until <= r.now {
		r.f.end(m)
	}
	r.f.prune(m)
}
