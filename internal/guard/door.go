package guard

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"latchkey/internal/exchange"
	"latchkey/internal/meter"
)

// reason is why a request was refused: few words, for the label of a metric.
type reason string

const (
	noHeader  reason = "header"
	forwarded reason = "forwarded"
	browser   reason = "browser"
	wrongHost reason = "host"
	noPeer    reason = "peer"
	noToken   reason = "token"
	noMethod  reason = "method"
	noPath    reason = "path"
)

// told is how seldom refusals for one reason are logged: anybody can cause them.
const told = time.Minute

// door turns requests away, for all guards of one listener.
type door struct {
	log   *slog.Logger
	meter meter.Meter

	mu   sync.Mutex
	last map[reason]*tally
}

// tally is what became of one reason since it was logged.
type tally struct {
	at     time.Time
	silent int
}

func newDoor(o Options) *door {
	d := &door{log: o.Log, meter: o.Meter, last: map[reason]*tally{}}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.meter == nil {
		d.meter = meter.Discard
	}
	return d
}

// refuse answers a request that goes no further. more is for the log alone.
func (d *door) refuse(w http.ResponseWriter, r *http.Request, why reason, code int, text string, more ...any) {
	d.meter.Count("guard.refused", 1, meter.Label{Name: "reason", Value: string(why)})
	d.tell(r, why, text, more)
	exchange.Refuse(w, code, text)
}

// tell logs a refusal, and how many there were that it did not log.
func (d *door) tell(r *http.Request, why reason, text string, more []any) {
	now := time.Now().Round(0)
	d.mu.Lock()
	t := d.last[why]
	if t == nil {
		t = &tally{}
		d.last[why] = t
	}
	if since := now.Sub(t.at); since >= 0 && since < told {
		t.silent++
		d.mu.Unlock()
		return
	}
	silent := t.silent
	t.at, t.silent = now, 0
	d.mu.Unlock()
	args := append([]any{"reason", string(why), "why", text, "from", r.RemoteAddr}, more...)
	if silent > 0 {
		args = append(args, "others_like_it", silent)
	}
	d.log.Warn("a request was refused", args...)
}
