package template

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/internal/cred"
)

// watched is one template of a Watch: what it used when it was last evaluated,
// how it stands, and when it is due. It holds no output but that of a variable.
// All of it is under the Watch's mu, except what is fixed when it is made.
type watched struct {
	t     *tmpl
	index int
	// ties are the templates that write where this one writes, itself included,
	// nil for nobody else: they are rendered together, in their order. company
	// names those that may share a round, command is what runs afterwards.
	ties    []*watched
	company string
	command *command

	// round is the one under way, nil for none; turn counts them.
	round *round
	turn  int
	// keys, deps, certs and files are the inputs of the last evaluation, asking
	// the keys that the one under way has registered.
	keys   []string
	asking []string
	deps   []string
	certs  map[string]bool
	files  map[string]stamp
	// outputs are the files that it wrote.
	outputs []string
	value   cred.Redacted

	renderedAt, changedAt time.Time
	// tried is whether it counts for Report.Complete; owed is whether something
	// changed of which its command does not know yet.
	tried, owed bool
	// failures is how often in a row it failed, again how often before it last
	// did not.
	failures, again int
	err             error
	commandErr      error
	errAt           time.Time
	// broken is what the end of a Tend broke off.
	broken error

	// What it is due for. changeAt is put off while changes come, the first of
	// which came at changeSince; spentAt is when a certificate is replaced, and
	// short how often in a row it was so as soon as it was issued. lostAt is when
	// an output was found missing.
	changeSince, changeAt time.Time
	retryAt               time.Time
	spentAt               time.Time
	short                 int
	lostAt                time.Time
}

// due returns when the template is due and for what; the zero time for never.
func (st *watched) due() (at time.Time, why string) {
	for _, d := range [...]struct {
		at  time.Time
		why string
	}{{st.changeAt, "change"}, {st.retryAt, "retry"}, {st.spentAt, "certificate"}, {st.lostAt, "change"}} {
		if !d.at.IsZero() && (at.IsZero() || d.at.Before(at)) {
			at, why = d.at, d.why
		}
	}
	return at, why
}

// ahead reports whether a change that is put off is rendered now all the same, for
// one looks ahead to by. Nothing else is: what failed has its schedule, and a
// certificate that is not spent would be taken again.
func (st *watched) ahead(by time.Time) bool { return !st.changeAt.IsZero() && !st.changeAt.After(by) }

// change notes that an input changed. It is put off by wait, but not before the
// template has been rendered once.
func (st *watched) change(at time.Time) {
	wait := st.t.spec.Wait
	if wait == nil || wait.Min <= 0 || st.renderedAt.IsZero() {
		st.changeAt = at
		return
	}
	if st.changeAt.IsZero() {
		st.changeSince = at
	}
	st.changeAt = earlier(at.Add(wait.Min), st.changeSince.Add(max(wait.Min, wait.Max)))
}

// settle clears what it was due for: the round that begins sees everything.
func (st *watched) settle() {
	st.changeAt, st.changeSince, st.retryAt, st.spentAt, st.lostAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	st.broken = nil
}

// together returns the templates that are rendered with this one, and itself.
func (st *watched) together() []*watched {
	if st.ties == nil {
		return []*watched{st}
	}
	return st.ties
}

// busy is whether it, or one that is tied to it, is in a round.
func (st *watched) busy() bool {
	if st.ties == nil {
		return st.round != nil
	}
	for _, tied := range st.ties {
		if tied.round != nil {
			return true
		}
	}
	return false
}

// outcome begins a report of it.
func (st *watched) outcome() Outcome {
	o := st.t.outcome()
	o.Value = st.value
	return o
}

// arrange ties the templates together that write to the same path, and parts
// them by the company that they may be in: those that are written while others
// wait for their answers keep to themselves, so that nobody waits for them.
func arrange(templates []*watched) {
	first := map[string]*watched{}
	for i, st := range templates {
		st.index = i
		for _, path := range st.paths() {
			if other := first[path]; other == nil {
				first[path] = st
			} else if other != st {
				join(st, other)
			}
		}
	}
	for _, st := range templates {
		st.company = st.suits()
	}
}

// paths are those that it is known to write to.
func (st *watched) paths() []string {
	var paths []string
	if path := st.t.path(); path != "" {
		paths = append(paths, path)
	}
	if st.t.text != nil {
		for _, path := range st.t.text.targets {
			paths = append(paths, filepath.Clean(path))
		}
	}
	return paths
}

// join makes one tie of those of two templates, in their order, in which the
// last one wins.
func join(a, b *watched) {
	ties := slices.Concat(a.together(), b.together())
	slices.SortFunc(ties, func(x, y *watched) int { return x.index - y.index })
	ties = slices.Compact(ties)
	for _, st := range ties {
		st.ties = ties
	}
}

// remotes are the library's functions that ask Consul or Nomad.
const remotes = `
	key keyExists keyOrDefault ls safeLs tree safeTree node nodes service services
	connect caRoots caLeaf datacenters partitions peerings exportedServices
	nomadService nomadServices nomadVar nomadVarList nomadVarListSafe nomadVarExists`

// suits names the company of a template. A program that it starts while it is
// evaluated may hang; where files or certificates are shared, or Consul or Nomad
// is asked, a round waits for all answers.
func (st *watched) suits() string {
	text := st.t.text
	switch {
	case st.ties != nil:
		return "shared"
	case text == nil:
		return ""
	case text.sides || text.pkiCerts > 0:
		return "shared"
	case text.calls["plugin"] != "":
		return "plugin " + strconv.Itoa(st.index)
	}
	for _, name := range strings.Fields(remotes) {
		if text.calls[name] != "" {
			return "remote"
		}
	}
	return ""
}
