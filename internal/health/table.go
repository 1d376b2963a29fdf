package health

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// maxLeases is how many leases a table shows; those with a failure first, then
// those due soonest.
const maxLeases = 20

// Table writes the status as `latchkey status` prints it: short columns first and
// names last, so that a narrow terminal breaks lines where it does no harm; a
// failure is a line of its own below its thing. Ages are counted to s.Now, or to
// the present where it is zero. Its errors are those of w.
func Table(w io.Writer, s Status) error {
	if s.Now.IsZero() {
		s.Now = time.Now()
	}
	t := &table{now: s.Now}
	t.head(s)
	t.token("TOKEN", s.Token)
	for _, i := range s.Identities {
		t.token("TOKEN of "+clean(i.Name), i.Token)
	}
	t.sinks(s.Sinks)
	t.templates(s.Templates)
	t.leases(s.Leases)
	t.cache(s.Cache)
	t.child(s.Child)
	t.reload(s.Reload)
	_, err := io.WriteString(w, t.String())
	return err
}

type table struct {
	strings.Builder
	now time.Time
}

func (t *table) linef(format string, a ...any) {
	t.WriteString(strings.TrimRight(fmt.Sprintf(format, a...), " ") + "\n")
}

func (t *table) head(s Status) {
	ready := "ready"
	if !s.Ready {
		ready = "NOT READY"
	}
	up := ""
	if !s.StartedAt.IsZero() {
		up = ", running for " + span(t.now.Sub(s.StartedAt))
	}
	t.linef("latchkey %s%s: %s", clean(s.Version), up, ready)
	if !s.Ready {
		for _, r := range s.Reasons {
			t.linef("  - %s", clean(r))
		}
	}
}

func (t *table) token(title string, k Token) {
	t.linef("")
	state := clean(k.State)
	switch {
	case k.State == "valid" && k.ExpiresAt.IsZero():
		state += ", no end"
	case k.State == "valid", k.State == "wrapped":
		state += ", expires " + t.when(k.ExpiresAt)
	case k.State == "expired" && !k.ExpiresAt.IsZero():
		state += " " + t.when(k.ExpiresAt)
	}
	t.linef("%-10s %s", title, state)
	t.fact("got", t.when(k.Since), !k.Since.IsZero())
	t.fact("renewed", t.when(k.RenewedAt), !k.RenewedAt.IsZero())
	t.fact("next", t.next(k.Next), k.Action != "")
	t.fact("accessor", clean(k.AccessorHash)+" (hash)", k.AccessorHash != "")
	t.fact("policies", clean(strings.Join(k.Policies, ", ")), len(k.Policies) > 0)
	t.fact("so far", fmt.Sprintf("%s, %s", count(k.Logins, "login"), count(k.Renewals, "renewal")), k.Logins+k.Renewals > 0)
	t.WriteString(t.failure(k.Failure))
}

func (t *table) fact(name, value string, known bool) {
	if known {
		t.linef("  %-8s %s", name, value)
	}
}

func (t *table) sinks(all []Sink) {
	rows := make([]row, len(all))
	for i, s := range all {
		rows[i] = row{[]string{t.when(s.WrittenAt), t.next(s.Next), clean(s.Name)}, s.Failure}
	}
	t.section("SINKS", []string{"WRITTEN", "NEXT", "NAME"}, rows)
}

func (t *table) templates(all []Template) {
	rows := make([]row, len(all))
	for i, p := range all {
		name := clean(p.Name)
		switch {
		case p.Variable != "":
			name = "$" + clean(p.Variable)
		case p.Destination != "":
			name = clean(p.Destination)
		}
		rows[i] = row{[]string{t.when(p.RenderedAt), t.when(p.ChangedAt), t.next(p.Next), name}, p.Failure}
	}
	t.section("TEMPLATES", []string{"RENDERED", "CHANGED", "NEXT", "OUTPUT"}, rows)
}

func (t *table) cache(c *Cache) {
	if c == nil {
		return
	}
	t.linef("")
	t.linef("CACHE      %s, %s", count(c.Entries, "answer"), count(int(c.Bytes), "byte"))
	t.linef("  %-8s %d hit, %d missed, %d stale, %d dropped for want of room", "so far", c.Hits, c.Misses, c.Stale, c.Evicted)
}

func (t *table) leases(l Leases) {
	shown := slices.Clone(l.Entries)
	slices.SortStableFunc(shown, func(a, b Lease) int {
		switch {
		case (a.Error != "") != (b.Error != "") && a.Error != "":
			return -1
		case (a.Error != "") != (b.Error != ""):
			return 1
		}
		return a.Next.At.Compare(b.Next.At)
	})
	shown = shown[:min(len(shown), maxLeases)]
	rows := make([]row, len(shown))
	for i, e := range shown {
		expires := "-"
		if !e.ExpiresAt.IsZero() {
			expires = t.when(e.ExpiresAt)
		}
		rows[i] = row{[]string{t.when(e.IssuedAt), expires, t.next(e.Next), clean(e.Key)}, e.Failure}
	}
	t.section(fmt.Sprintf("LEASES (%d)", l.Count), []string{"READ", "EXPIRES", "NEXT", "KEY"}, rows)
	if more := l.Count - len(shown); more > 0 && len(shown) > 0 {
		t.linef("  and %d more", more)
	}
}

func (t *table) child(c *Child) {
	if c == nil {
		return
	}
	state := "not running"
	if c.PID != 0 {
		state = fmt.Sprintf("pid %d, started %s", c.PID, t.when(c.StartedAt))
	}
	if c.Restarts > 0 {
		state += ", " + count(c.Restarts, "restart")
	}
	t.linef("")
	t.linef("CHILD      %s", state)
	t.fact("before", clean(c.LastExit), c.LastExit != "")
}

func (t *table) reload(r *Reload) {
	if r == nil {
		return
	}
	t.linef("")
	if r.Error == "" {
		t.linef("RELOAD     %s, taken over", t.when(r.At))
		return
	}
	t.linef("RELOAD     %s, NOT taken over", t.when(r.At))
	t.linef("  ! %s", clean(r.Error))
}

// row is one line of a section and what is wrong with it.
type row struct {
	cells   []string
	failure Failure
}

// section writes an aligned table under a title; nothing when it is empty.
func (t *table) section(title string, columns []string, rows []row) {
	if len(rows) == 0 {
		return
	}
	var aligned strings.Builder
	tw := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "  "+strings.Join(columns, "\t"))
	for _, r := range rows {
		_, _ = fmt.Fprintln(tw, "  "+strings.Join(r.cells, "\t"))
	}
	_ = tw.Flush() // a strings.Builder takes everything
	t.linef("")
	t.linef("%s", title)
	// Failures come in between only now: in the tabwriter one of them would
	// begin a new table with other columns.
	for i, line := range strings.Split(strings.TrimSuffix(aligned.String(), "\n"), "\n") {
		t.linef("%s", line)
		if i > 0 {
			t.WriteString(t.failure(rows[i-1].failure))
		}
	}
}

func (t *table) failure(f Failure) string {
	if f.Error == "" {
		return ""
	}
	ago := ""
	if !f.At.IsZero() {
		ago = t.when(f.At) + ": "
	}
	return "    ! " + ago + clean(f.Error) + "\n"
}

// next is "renew in 2m10s".
func (t *table) next(n Next) string {
	switch {
	case n.Action == "":
		return "-"
	case n.At.IsZero():
		return clean(n.Action)
	}
	return clean(n.Action) + " " + t.when(n.At)
}

// when is "3m ago", "in 2m10s", "now" or, for the zero moment, "never".
func (t *table) when(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	d := at.Round(0).Sub(t.now.Round(0))
	switch {
	case d <= -time.Second:
		return span(-d) + " ago"
	case d >= time.Second:
		return "in " + span(d)
	}
	return "now"
}

// span is a duration in its two largest units: 12s, 2m10s, 3h5m, 4d2h.
func span(d time.Duration) string {
	d = max(d, 0)
	units := []struct {
		name string
		len  time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.len && u.name != "s" {
			continue
		}
		text := fmt.Sprintf("%d%s", d/u.len, u.name)
		if i+1 < len(units) {
			if rest := d % u.len / units[i+1].len; rest > 0 {
				text += fmt.Sprintf("%d%s", rest, units[i+1].name)
			}
		}
		return text
	}
	return "0s"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// clean keeps what a daemon says from steering the terminal it is printed to,
// and from breaking the table: control characters and the like become spaces.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return ' '
		}
		return r
	}, s)
}
