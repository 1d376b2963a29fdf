package oneshot

import (
	"log/slog"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/template"
)

// Report says what a run did. It holds no secret.
type Report struct {
	Start time.Time
	// Accessor and TTL are those of the token, empty before the login.
	Accessor string
	TTL      time.Duration
	Login    time.Duration
	// Sinks is the number of sinks that the token was offered to.
	Sinks     int
	Templates template.Report
	Took      time.Duration
}

func (r *Report) loggedIn(t cred.Token) {
	r.Accessor, r.TTL, r.Login = t.Accessor, t.Lease.Duration, time.Since(r.Start)
}

func (r *Report) wrote(sinks int, now time.Time) {
	r.Sinks, r.Took = sinks, now.Sub(r.Start)
}

// LogValue implements slog.LogValuer.
func (r Report) LogValue() slog.Value {
	changed := 0
	for _, t := range r.Templates.Templates {
		if t.Changed {
			changed++
		}
	}
	return slog.GroupValue(
		slog.String("accessor", r.Accessor), slog.Duration("ttl", r.TTL),
		slog.Int("sinks", r.Sinks), slog.Int("templates", len(r.Templates.Templates)), slog.Int("changed", changed),
		slog.Duration("login", r.Login.Round(time.Microsecond)), slog.Duration("took", r.Took.Round(time.Microsecond)))
}
