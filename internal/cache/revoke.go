package cache

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
)

// observe sees every answer on its way to a client, and takes from it what
// it says about what is cached: something was revoked, a lease has another end, a
// token is none any more. An answer without a status is one that nobody knows, and
// one without a body was not looked into.
func (c *Cache) observe(a *exchange.Ask, ans *exchange.Answer) {
	if ans.Status == http.StatusForbidden && unknownToken(ans.Body) {
		c.family.disowned(a, ans)
	}
	if exchange.Reads(a.Method) {
		return
	}
	d := deedOf(a)
	if d.verb == "" {
		return
	}
	switch {
	case ans.Status == 0 || ans.Status >= 500:
		d.doubtful = true
	case ans.Status >= 300:
		return
	}
	f := &c.family
	f.lock()
	switch {
	case !d.renews():
		f.revoked(a, ans, d)
	case !d.doubtful:
		f.renewed(a, ans, d)
	}
	f.unlock()
	if !d.renews() {
		c.unlease()
		c.forgotten()
	}
}

// forgotten waits until the store has forgotten what the cache did: who was told that
// something is revoked does not see it again, and be it that this process is
// killed right now. No lock is held.
func (c *Cache) forgotten() {
	if c.o.Store != nil {
		c.o.Store.Settle()
	}
}

// unknownToken says whether the server refused because it does not know the token.
func unknownToken(body []byte) bool {
	return bytes.Contains(body, []byte("permission denied")) && bytes.Contains(body, []byte("invalid token"))
}

// unknown hears that the server does not know a client's token. What was made with
// it is given out no more; whether it is really over shows when it is renewed.
func (f *family) unknown(tok cred.Redacted) {
	id := idOf(tok)
	f.lock()
	defer f.unlock()
	f.note(event{what: endOfToken, token: id})
	f.retire(f.byToken[id])
	f.c.dead(tok)
}

// disowned hears that the server refused a request for its token, which may be a
// client's, as in unknown, or lent.
func (f *family) disowned(a *exchange.Ask, ans *exchange.Answer) {
	if a.Who.Lent == "" {
		if !ans.Token.Empty() {
			f.unknown(ans.Token)
		}
		return
	}
	f.lock()
	defer f.unlock()
	f.note(event{what: endOfToken, token: idOf(ans.Token)})
	f.retire(f.asker(a, ans.Token))
	f.c.spent(ans.Token)
}

// deed is a request that revokes or renews something.
type deed struct {
	// space is the namespace it is done in, from the root.
	space string
	verb  string
	// object is what the path says after the verb.
	object string
	// What the body names.
	token, accessor, lease, from string
	// blind says that the body could not be read.
	blind bool
	// doubtful says that nobody knows whether it was done.
	doubtful bool
}

// The verbs. The older spellings of some of them are still served.
var verbs = []struct{ path, verb string }{
	{"auth/token/revoke", "revoke"},
	{"auth/token/revoke-self", "revoke-self"},
	{"auth/token/revoke-orphan", "revoke-orphan"},
	{"auth/token/revoke-accessor", "revoke-accessor"},
	{"auth/token/renew", "renew-token"},
	{"auth/token/renew-self", "renew-token"},
	{"auth/token/renew-accessor", "renew-token"},
	{"sys/leases/revoke", "revoke-lease"},
	{"sys/leases/revoke-prefix", "revoke-prefix"},
	{"sys/leases/revoke-force", "revoke-prefix"},
	{"sys/leases/renew", "renew-lease"},
	{"sys/revoke", "revoke-lease"},
	{"sys/revoke-prefix", "revoke-prefix"},
	{"sys/revoke-force", "revoke-prefix"},
	{"sys/renew", "renew-lease"},
	{"sys/remount", "remount"},
}

// removals are what a DELETE takes away with all leases below.
var removals = []struct{ path, below string }{
	{"sys/mounts", ""},
	{"sys/auth", "auth/"},
	{"sys/namespaces", ""},
}

func (d *deed) renews() bool { return strings.HasPrefix(d.verb, "renew") }

// deedOf finds out what a request does, if it is any of the above. The namespace may
// stand before it in the path. A secret of a key-value engine that is named like
// one of them is taken for it, and costs an answer at most.
func deedOf(a *exchange.Ask) (d deed) {
	at := placeOf(a)
	path := at.path
	for i := 0; ; {
		if d.is(a.Method, path[i:]) {
			d.space = at.namespace + path[:i]
			break
		}
		j := strings.IndexByte(path[i:], '/')
		if j < 0 {
			return d
		}
		i += j + 1
	}
	d.read(a.Body)
	return d
}

// read finds out whom the body names. The server takes JSON, the first value of
// it, and forms.
func (d *deed) read(body []byte) {
	var fields map[string]any
	if json.NewDecoder(bytes.NewReader(body)).Decode(&fields) != nil {
		form, err := url.ParseQuery(string(body))
		if err != nil || len(form) == 0 {
			// It may have been too large to be held, too.
			d.blind = true
			return
		}
		fields = make(map[string]any, len(form))
		for name := range form {
			fields[name] = form.Get(name)
		}
	}
	for name, to := range map[string]*string{
		"token": &d.token, "accessor": &d.accessor, "lease_id": &d.lease, "from": &d.from,
	} {
		if v, ok := fields[name]; ok {
			text, ok := v.(string)
			if *to = strings.TrimSpace(text); !ok {
				d.blind = true
			}
		}
	}
}

func (d *deed) is(method, path string) bool {
	if !strings.HasPrefix(path, "sys/") && !strings.HasPrefix(path, "auth/token/") {
		return false
	}
	if method == http.MethodDelete {
		for _, r := range removals {
			if mount, ok := strings.CutPrefix(path, r.path+"/"); ok {
				d.verb, d.object = "revoke-prefix", r.below+mount
				return true
			}
		}
	}
	for _, v := range verbs {
		rest, ok := strings.CutPrefix(path, v.path)
		if ok && (rest == "" || rest[0] == '/') {
			d.verb, d.object = v.verb, strings.Trim(rest, "/")
			return true
		}
	}
	return false
}

// either is what the body names, or else the path: so the server has it.
func (d *deed) either(body string) string {
	if body != "" {
		return body
	}
	return d.object
}

// revoked takes out what a deed ended. Where nobody knows whether it did, or what
// it was, more is given out no longer than needed be, and nothing is let go.
func (f *family) revoked(a *exchange.Ask, ans *exchange.Answer, d deed) {
	n := 0
	switch d.verb {
	case "revoke-self":
		tok := ans.Token
		if tok.Empty() {
			tok = a.Who.Token
		}
		if m := f.lent[a.Who.Lent]; a.Who.Lent != "" && tok.Empty() && m != nil {
			tok = m.secret
		}
		n = f.tokenOver(tok, d.doubtful)
	case "revoke":
		if text := d.either(d.token); text != "" {
			n = f.tokenOver(cred.Redact(text), d.doubtful)
		} else {
			n = f.anything(d)
		}
	case "revoke-accessor":
		if id := d.either(d.accessor); id == "" {
			n = f.anything(d)
		} else if m := f.byAccessor[id]; m != nil {
			n = f.tokenOver(m.secret, d.doubtful)
		} else {
			f.c.doubt()
		}
	case "revoke-orphan":
		if text := d.either(d.token); text != "" {
			n = f.orphan(cred.Redact(text), d.doubtful)
		} else {
			n = f.anything(d)
		}
	case "revoke-lease":
		if id := d.either(d.lease); id != "" {
			n = f.leaseOver(d.space, id, d.doubtful)
		} else {
			n = f.anything(d)
		}
	case "revoke-prefix":
		n = f.dirOver(d.space, d.object, d.doubtful)
	case "remount":
		if from := d.either(d.from); from != "" {
			n = f.dirOver(d.space, from, d.doubtful)
		} else {
			n = f.anything(d)
		}
	}
	switch d.verb {
	case "revoke", "revoke-self", "revoke-accessor":
		f.doubtKin()
	}
	if n > 0 {
		f.c.o.Log.Debug("cached answers dropped after a revocation", "by", d.verb, "entries", n)
	}
}

// over takes m out, or where that is doubtful, only gives it out no more.
func (f *family) over(m *member, doubtful bool) int {
	if doubtful {
		return f.retire(m)
	}
	return f.end(m)
}

// anything is for a deed of which is not known whom it concerned.
func (f *family) anything(d deed) int {
	if !d.blind {
		return 0 // it named nobody, whatever the server made of it
	}
	f.note(event{what: endOfAll})
	f.c.doubt()
	n := 0
	for _, m := range f.roots() {
		n += f.retire(m)
	}
	return n
}

// roots are the tokens that stand alone.
func (f *family) roots() []*member {
	var out []*member
	for _, m := range f.byToken {
		if m.parent == nil {
			out = append(out, m)
		}
	}
	return out
}

func (f *family) tokenOver(tok cred.Redacted, doubtful bool) int {
	if tok.Empty() {
		return 0
	}
	id := idOf(tok)
	f.note(event{what: endOfToken, token: id})
	return f.over(f.byToken[id], doubtful) + f.c.dead(tok)
}

// orphan ends a token and its leases, but not the tokens that were made with it:
// they stand alone from now on, and nobody who shows the old token gets them.
func (f *family) orphan(tok cred.Redacted, doubtful bool) int {
	n := 0
	m := f.byToken[idOf(tok)]
	if m != nil && !doubtful {
		n = f.below(m, func(ch *member) int {
			if !ch.isToken() {
				return 0
			}
			gone := f.unserve(ch)
			f.part(ch)
			f.settle(ch)
			f.save(ch)
			return gone
		})
	}
	return n + f.tokenOver(tok, doubtful)
}

// leaseOver ends a lease. A token has one too, whose name only the server knows.
func (f *family) leaseOver(space, id string, doubtful bool) int {
	f.note(event{what: endOfLease, text: id})
	if m := f.byLease[id]; m != nil {
		return f.over(m, doubtful)
	}
	if dir, _, ok := cutLast(id, "/"); ok && strings.HasPrefix(id, "auth/") {
		return f.loginsAt(space+dir, func(path string) bool { return path == space+dir })
	}
	return 0
}

// dirOver ends what was made at a path and below it. The path may be a lease, too.
func (f *family) dirOver(space, dir string, doubtful bool) int {
	dir = strings.Trim(dir, "/")
	full := space + dir
	f.note(event{what: endOfDir, text: full})
	n := f.over(f.byLease[dir], doubtful)
	for _, m := range f.paths.under(full, nil) {
		if inDir(m.path, full) {
			n += f.over(m, doubtful)
		}
	}
	if strings.HasPrefix(dir, "auth") || dir == "" {
		// The tokens of which nobody knows where they were made may be among them.
		n += f.strangers()
	}
	return n
}

// loginsAt gives out no more what was made with the tokens of some logins, because
// one of them was revoked, and nobody knows which.
func (f *family) loginsAt(prefix string, is func(path string) bool) int {
	f.note(event{what: endOfDir, text: prefix})
	n := 0
	for _, m := range f.paths.under(prefix, nil) {
		if m.isToken() && is(m.path) {
			n += f.retire(m) + f.c.dead(m.secret)
		}
	}
	return n + f.strangers()
}

// strangers does so with the tokens that were made elsewhere.
func (f *family) strangers() int {
	n := 0
	for _, m := range f.byToken {
		if m.path == "" {
			f.note(event{what: endOfToken, token: idOf(m.secret)})
			n += f.retire(m)
		}
	}
	f.c.doubt()
	return n
}

// doubtKin has the rights asked for again of those tokens of which only the
// server knows with whose token they were made: it may be the one that was revoked.
func (f *family) doubtKin() {
	c := f.c
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	now := time.Now().UnixNano()
	for _, h := range c.holders {
		m := f.lent[h.who.Lent]
		if h.who.Lent == "" {
			m = f.byToken[h.token]
		}
		for m != nil && m.parent != nil {
			m = m.parent
		}
		if m == nil || m.path == "" && !m.orphan {
			h.strict.Store(now)
		}
	}
}

// granted is what an answer to a renewal tells.
type granted struct {
	LeaseID       string `json:"lease_id"`
	LeaseDuration int64  `json:"lease_duration"`
	Renewable     bool   `json:"renewable"`
	Auth          *login `json:"auth"`
}

// renewed takes in what a client made of a lease or a token: more time, or less.
func (f *family) renewed(a *exchange.Ask, ans *exchange.Answer, d deed) {
	var g granted
	readable := json.Unmarshal(ans.Body, &g) == nil
	l := cred.Lease{Duration: seconds(g.LeaseDuration), Renewable: g.Renewable, Issued: cred.Wall(ans.At)}
	var m *member
	if d.verb == "renew-lease" {
		if g.LeaseID == "" {
			g.LeaseID = d.either(d.lease)
		}
		m = f.byLease[g.LeaseID]
	} else {
		m = f.renewedToken(a, ans, d, g.Auth)
		if readable = readable && g.Auth != nil; readable {
			l.Duration, l.Renewable = seconds(g.Auth.LeaseDuration), g.Auth.Renewable
		}
	}
	if m == nil || m.lenders > 0 && m.length == 0 {
		return
	}
	if !readable {
		// It may be over sooner than we think.
		f.retire(m)
		return
	}
	f.term(m, l)
	if m.held {
		l.ID = m.lease().ID
		f.c.o.Leases.Extended(m.heldKey(), l)
	}
}

// renewedToken finds out which token was renewed: the answer says, or the request.
func (f *family) renewedToken(a *exchange.Ask, ans *exchange.Answer, d deed, auth *login) *member {
	if auth == nil {
		auth = &login{}
	}
	for _, text := range []string{auth.ClientToken, d.token} {
		if text != "" {
			return f.byToken[idOf(cred.Redact(text))]
		}
	}
	for _, id := range []string{auth.Accessor, d.accessor} {
		if m := f.byAccessor[id]; m != nil {
			return m
		}
	}
	if d.object != "" {
		return f.byToken[idOf(cred.Redact(d.object))]
	}
	return f.asker(a, ans.Token)
}
