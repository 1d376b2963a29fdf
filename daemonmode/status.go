package daemonmode

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"latchkey/internal/cache"
	"latchkey/internal/cred"
	"latchkey/internal/health"
	"latchkey/internal/lease"
	"latchkey/internal/retry"
	"latchkey/internal/session"
	"latchkey/internal/sink"
	"latchkey/internal/template"
)

// overdue is how long a thing may be late before it counts as such: what is due
// is being done, and that takes a moment.
const overdue = 30 * time.Second

// mostReasons bounds what a status says of why it is not ready.
const mostReasons = 10

// status puts together what the parts say of themselves.
func (d *daemon) status() health.Status {
	d.mu.Lock()
	leases := d.leases
	d.mu.Unlock()
	return d.account(leases)
}

// account is a status with these leases, nil for none.
func (d *daemon) account(leases *lease.Manager) health.Status {
	d.mu.Lock()
	j, complete, reloaded := d.job, d.complete, d.reloaded
	keepers, watch := d.keepers, d.watch
	d.mu.Unlock()
	now := cred.Wall(time.Now())
	s := health.Status{Version: d.o.Version, StartedAt: cred.Wall(d.started), Now: now}
	s.Token = health.Token{State: "none"}
	for n, l := range j.Logins {
		t := tokenStatus(l.Session, now)
		if n == 0 {
			s.Token = t
		} else {
			s.Identities = append(s.Identities, health.Identity{Name: l.Name, Token: t})
		}
	}
	for _, k := range keepers {
		for _, one := range k.Status() {
			s.Sinks = append(s.Sinks, sinkStatus(one))
		}
	}
	if c := j.Proxy.Cache; c != nil {
		s.Cache = cacheStatus(c.Stats())
	}
	if watch != nil {
		for _, t := range watch.Status() {
			s.Templates = append(s.Templates, templateStatus(t))
		}
	}
	if leases != nil {
		entries := leases.Entries()
		s.Leases.Count = len(entries)
		for _, e := range entries[:min(len(entries), health.MaxEntries)] {
			s.Leases.Entries = append(s.Leases.Entries, leaseStatus(e))
		}
	}
	if j.Child != nil {
		c := j.Child.Status()
		s.Child = &health.Child{PID: c.PID, StartedAt: c.StartedAt, Restarts: c.Restarts, LastExit: c.LastExit}
	}
	if !reloaded.at.IsZero() {
		s.Reload = &health.Reload{At: cred.Wall(reloaded.at)}
		if reloaded.err != nil {
			s.Reload.Error = reloaded.err.Error()
		}
	}
	s.Reasons = reasons(j, s, complete)
	s.Ready = len(s.Reasons) == 0
	if more := len(s.Reasons) - mostReasons; more > 0 {
		s.Reasons = append(s.Reasons[:mostReasons], fmt.Sprintf("and %d more", more))
	}
	return s
}

func tokenStatus(s *session.Session, now time.Time) health.Token {
	st := s.State()
	t := health.Token{
		State: "valid", ExpiresAt: st.Token.Lease.Expires(), Since: st.Since, RenewedAt: st.Renewed,
		Policies: st.Token.Policies, Logins: st.Logins, Renewals: st.Renewals,
		Next: health.Next{Action: st.Next, At: st.NextAt}, Failure: failure(st.Err, st.ErrAt),
	}
	switch {
	case st.Token.Value.Empty() && st.Token.Wrap == nil:
		t.State = "none"
	case st.Token.Lease.Expired(now):
		t.State = "expired"
	case !st.Valid:
		t.State = "invalid"
	case st.Token.Wrap != nil:
		t.State, t.ExpiresAt = "wrapped", cred.Wall(st.Since.Add(st.Token.Wrap.TTL))
	}
	if st.Token.Accessor != "" {
		t.AccessorHash = health.Hash(st.Token.Accessor)
	}
	return t
}

func sinkStatus(k sink.Status) health.Sink {
	s := health.Sink{Name: k.Name, WrittenAt: k.WrittenAt, Failure: failure(errors.Join(k.Err, k.NoticeErr), k.ErrAt)}
	if !k.NextAt.IsZero() {
		s.Next = health.Next{Action: "write", At: k.NextAt}
	}
	return s
}

func templateStatus(t template.Status) health.Template {
	return health.Template{
		Name: t.Name, Destination: t.Destination, Variable: t.Variable, RenderedAt: t.RenderedAt, ChangedAt: t.ChangedAt,
		Next: health.Next{Action: t.Next, At: t.NextAt}, Failure: failure(t.Err, t.ErrAt),
	}
}

func leaseStatus(e lease.Entry) health.Lease {
	return health.Lease{
		Key: e.What, Kind: e.Kind, ID: e.LeaseID, IssuedAt: e.Issued, ExpiresAt: e.Expires,
		Next: health.Next{Action: e.Next, At: e.NextAt}, Failure: failure(e.Err, e.ErrAt),
	}
}

func cacheStatus(c cache.Stats) *health.Cache {
	return &health.Cache{
		Entries: c.Entries, Bytes: c.Bytes, Hits: c.Hits, Misses: c.Misses, Stale: c.Stale, Evicted: c.Evictions,
	}
}

func failure(err error, at time.Time) health.Failure {
	if err == nil {
		return health.Failure{}
	}
	return health.Failure{Error: err.Error(), At: at}
}

// reasons lists what keeps the daemon from being ready: a first success that is
// still to come, and what should have been done by now.
func reasons(j Job, s health.Status, complete bool) []string {
	var why []string
	say := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	if text := poor[s.Token.State]; len(j.Logins) > 0 && text != "" {
		say("the token is %s", text)
	}
	for _, i := range s.Identities {
		if text := poor[i.Token.State]; text != "" {
			say("the token of %s is %s", i.Name, text)
		}
	}
	for _, k := range s.Sinks {
		switch {
		case k.WrittenAt.IsZero():
			say("sink %s is still to be written", k.Name)
		case k.Error != "":
			say("%s", named("sink "+k.Name, k.Error))
		}
	}
	if j.Templates != nil && !complete {
		say("not every template has been rendered yet")
	}
	for _, t := range s.Templates {
		if t.Error != "" {
			say("%s", named(t.Name, t.Error))
		}
	}
	for _, l := range s.Leases.Entries {
		// What has no end is overdue when nobody could look for too long.
		end := l.ExpiresAt
		if end.IsZero() {
			end = l.IssuedAt.Add(j.Leases.StaticInterval + overdue)
		}
		if l.Error != "" && late(end, s.Now, 0) || late(l.Next.At, s.Now, overdue) {
			say("%s is overdue%s", l.Key, because(l.Error))
		}
	}
	if s.Child != nil && s.Child.PID == 0 {
		say("the process is not running")
	}
	return why
}

// poor says what is wrong with a token in some states.
var poor = map[string]string{"none": "still to come", "expired": "expired", "invalid": "not valid any more"}

// named puts the name before a text that does not begin with it.
func named(name, text string) string {
	if strings.HasPrefix(text, name) {
		return text
	}
	return name + ": " + text
}

func because(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

func late(at, now time.Time, by time.Duration) bool { return !at.IsZero() && now.Sub(at) > by }

// lookAgain is when the daemon looks at itself until all is in place, beside the
// times when a part says that something moved. A look at ten thousand leases
// costs something, and what is not there after a while may never be.
var lookAgain = retry.Schedule{Base: 100 * time.Millisecond, Max: 5 * time.Second}

// announce says once that everything is in place, and to systemd what is missing
// until then.
func (d *daemon) announce(ctx context.Context) error {
	said := ""
	for n := 1; ; n++ {
		missing := d.firstSuccess()
		if missing != said {
			d.o.Notify.Status(missing)
			said = missing
		}
		if missing == inPlace {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		switch retry.Until(ctx, time.Now().Add(lookAgain.Wait(n)), d.moved) {
		case retry.Ended:
			return context.Cause(ctx)
		case retry.Woken:
			n = 0 // what comes next comes soon
		}
	}
}

// inPlace is what firstSuccess answers when nothing is missing.
const inPlace = "everything is in place"

// firstSuccess looks whether everything is in place for the first time, and says
// what is missing first.
func (d *daemon) firstSuccess() string {
	// Until all else is in place the leases are left out: thousands of them take
	// milliseconds, and each template that has been rendered has us look here.
	if s := d.account(nil); !s.Ready {
		return s.Reasons[0]
	}
	s := d.status()
	if !s.Ready {
		return s.Reasons[0]
	}
	d.mu.Lock()
	d.up = true
	d.mu.Unlock()
	d.o.Notify.Ready()
	d.log.Info(inPlace, "sinks", len(s.Sinks), "templates", len(s.Templates),
		"took", time.Since(d.started).Round(time.Millisecond))
	return inPlace
}

func (d *daemon) isUp() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.up
}

// watchdog tells systemd that the parts still answer.
func (d *daemon) watchdog(ctx context.Context) error {
	return d.o.Notify.Watchdog(ctx, func() bool { d.status(); return true })
}
