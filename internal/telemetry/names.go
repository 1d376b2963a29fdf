package telemetry

import "strings"

// Kind is what a number is.
type Kind int

// The kinds, each reported by the method of meter.Meter that is named like it.
const (
	Counter   Kind = iota // only grows
	Gauge                 // is what something is now
	Histogram             // is a duration, by meter.Meter's Time
)

func (k Kind) String() string { return [...]string{"counter", "gauge", "histogram"}[k] }

// Name is one metric that rooms report.
type Name struct {
	// Name is what rooms call it: "auth.success". Users see it after the
	// prefix: vault.agent.auth.success, vault_agent_auth_success.
	Name string
	Kind Kind
	// Unit is that of the values users see: "" for a number of things, "s",
	// "ms".
	Unit string
	// Labels are the names of the labels that a report may carry.
	Labels []string
	// Help says in one line what it means.
	Help string
}

// Names is every metric that a room may report, sorted as docs/metrics.md lists
// them. A report of another name, kind or label is a mistake: it is logged as an
// error once and dropped, and the test that reads the rooms' sources fails.
var Names = []Name{
	{"authenticated", Gauge, "", nil, "1 while the daemon has a token that is valid, else 0"},
	{"auth.success", Counter, "", nil, "Logins that gave a token"},
	{"auth.failure", Counter, "", nil, "Logins that failed; each attempt counts"},
	{"auth.login.time", Histogram, "ms", nil, "How long logins took, successful or not"},

	{"token.ttl", Gauge, "s", nil, "How long the token still lives; 0 for one without an end, and for none"},
	{"token.renewal.success", Counter, "", nil, "Renewals of the token"},
	{"token.renewal.failure", Counter, "", nil, "Renewals of the token that failed"},
	{"token.renewal.time", Histogram, "ms", nil, "How long renewals of the token took, successful or not"},

	{"sink.success", Counter, "", []string{"sink"}, "Tokens written to a sink; sink is its type"},
	{"sink.failure", Counter, "", []string{"sink"}, "Writes to a sink that failed"},
	{"sink.write.time", Histogram, "ms", []string{"sink"}, "How long writes to a sink took"},
	{"sink.notify.failure", Counter, "", []string{"sink"}, "Commands and signals after a write that failed"},

	{"template.render.success", Counter, "", nil, "Renders of a template that succeeded"},
	{"template.render.failure", Counter, "", nil, "Renders of a template that failed"},
	{"template.render.time", Histogram, "ms", nil, "How long renders took, reads included"},
	{"template.command.failure", Counter, "", nil, "Commands after a render that failed"},

	{"lease.count", Gauge, "", nil, "Answers that are kept current, with a lease or without"},
	{"lease.renewal.success", Counter, "", nil, "Renewals of a lease"},
	{"lease.renewal.failure", Counter, "", nil, "Renewals of a lease that failed"},
	{"lease.renewal.time", Histogram, "ms", nil, "How long renewals of a lease took"},
	{"lease.refetch.success", Counter, "", nil, "Secrets read again because they were due"},
	{"lease.refetch.failure", Counter, "", nil, "Secrets that were due and could not be read again"},
	{"lease.poll", Counter, "", nil, "Looks whether a static secret has a new version"},
	{"lease.expired", Counter, "", nil, "Leases that ended before they could be renewed or replaced"},

	{"child.start", Counter, "", nil, "Starts of the supervised process, the first one included"},
	{"child.restart", Counter, "", nil, "Restarts of the supervised process, mostly because a secret changed"},

	{"proxy.success", Counter, "", nil, "Proxied requests that the server answered well"},
	{"proxy.client_error", Counter, "", nil, "Proxied requests that the server refused (4xx)"},
	{"proxy.error", Counter, "", nil, "Proxied requests that failed otherwise"},
	{"cache.hit", Counter, "", nil, "Requests answered from the cache"},
	{"cache.miss", Counter, "", nil, "Requests that the cache could not answer"},
	{"cache.entries", Gauge, "", nil, "Answers in the cache"},

	{"guard.refused", Counter, "", []string{"reason"}, "Requests that a listener's guards refused; reason is forwarded, browser, host, header, peer, token, method or path"},
}

// runtimeNames are what go-metrics reports about the Go runtime, after the prefix
// "vault.runtime.".
var runtimeNames = []Name{
	{"num_goroutines", Gauge, "", nil, "Goroutines"},
	{"alloc_bytes", Gauge, "bytes", nil, "Memory in use on the heap"},
	{"sys_bytes", Gauge, "bytes", nil, "Memory taken from the system"},
	{"malloc_count", Gauge, "", nil, "Objects allocated since the start"},
	{"free_count", Gauge, "", nil, "Objects freed since the start"},
	{"heap_objects", Gauge, "", nil, "Objects on the heap"},
	{"total_gc_pause_ns", Gauge, "ns", nil, "Pauses for the garbage collector, together"},
	{"total_gc_runs", Gauge, "", nil, "Runs of the garbage collector"},
	{"gc_pause_ns", Histogram, "ns", nil, "Single pauses for the garbage collector"},
}

// known is what is looked up with every report.
type known struct {
	Name
	// key is what go-metrics is given: its parts, without a prefix.
	key []string
}

// index is built when it is needed: a one-shot links this room and does not pay
// for it.
func index() map[string]*known {
	m := make(map[string]*known, len(Names))
	for _, n := range Names {
		m[n.Name] = &known{n, append([]string{"agent"}, strings.Split(n.Name, ".")...)}
	}
	return m
}
