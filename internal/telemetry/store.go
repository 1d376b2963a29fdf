package telemetry

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-metrics"
)

// bounds are the upper bounds of a histogram's buckets, in milliseconds: from an
// answer on the same machine to one that a deadline ended.
var bounds = []float64{1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000}

// store adds up what was reported since the start, for those who ask for the
// whole: Prometheus, OTLP, and JSON for its gauges.
type store struct {
	// host is what go-metrics puts behind the prefix of gauges, empty for nothing.
	host    string
	names   map[string]*known
	runtime map[string]Name

	mu     sync.Mutex
	series map[string]*series
}

// series is one metric with one set of labels.
type series struct {
	// key is the name's parts with the prefix, without a host; inHost says that
	// go-metrics put the host behind the prefix.
	key    []string
	inHost bool
	labels []metrics.Label
	def    Name
	// sum is a counter's, a gauge's or a histogram's; buckets has the number of
	// samples up to each bound and one for those beyond, nil for a summary.
	sum     float64
	count   uint64
	buckets []uint64
	since   time.Time
	updated time.Time
	// stays says that it is served even when it is not reported for long.
	stays bool
}

func newStore(host string, names map[string]*known) *store {
	s := &store{host: host, names: names, runtime: map[string]Name{}, series: map[string]*series{}}
	for _, n := range runtimeNames {
		s.runtime[n.Name] = n
	}
	return s
}

// at gives the series of a key, which the caller holds the lock for.
func (s *store) at(key []string, labels []metrics.Label, kind Kind) *series {
	var id strings.Builder
	id.WriteString(strings.Join(key, "."))
	for _, l := range labels {
		id.WriteString("\x00" + l.Name + "\x00" + l.Value)
	}
	e := s.series[id.String()]
	if e == nil {
		e = &series{labels: slices.Clone(labels), since: time.Now()}
		e.key, e.inHost = s.withoutHost(key, kind)
		e.def = s.define(e.key, kind)
		if e.def.Kind == Histogram && e.def.Unit == "ms" {
			e.buckets = make([]uint64, len(bounds)+1)
		}
		s.series[id.String()] = e
	}
	e.updated = time.Now()
	return e
}

// withoutHost takes the host out of a gauge's key, where go-metrics puts it
// behind the prefix.
func (s *store) withoutHost(key []string, kind Kind) ([]string, bool) {
	if kind == Gauge && s.host != "" && len(key) > 2 {
		return slices.Concat(key[:1], key[2:]), true
	}
	return slices.Clone(key), false
}

// define finds the table's line for a key; what go-metrics itself may report one
// day gets a line without help.
func (s *store) define(key []string, kind Kind) Name {
	if len(key) > 2 {
		rest := strings.Join(key[2:], ".")
		if n, ok := s.names[rest]; ok && key[1] == "agent" {
			return n.Name
		}
		if n, ok := s.runtime[rest]; ok && key[1] == "runtime" {
			return n
		}
	}
	return Name{Name: strings.Join(key[1:], "."), Kind: kind}
}

func (s *store) gauge(key []string, value float64, labels []metrics.Label) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.at(key, labels, Gauge)
	e.sum = value
	e.stays = true // a gauge is what something is, not how long ago it was told
}

func (s *store) counter(key []string, n float64, labels []metrics.Label) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at(key, labels, Counter).sum += n
}

func (s *store) sample(key []string, value float64, labels []metrics.Label) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.at(key, labels, Histogram)
	e.sum += value
	e.count++
	if e.buckets != nil {
		i, _ := slices.BinarySearch(bounds, value)
		e.buckets[i]++
	}
}

// declarer makes series without counting anything.
type declarer struct{ *store }

func (d declarer) gauge([]string, float64, []metrics.Label) {}
func (d declarer) counter(key []string, _ float64, labels []metrics.Label) {
	d.at(key, labels, Counter).stays = true
}
func (d declarer) sample(key []string, _ float64, labels []metrics.Label) {
	d.at(key, labels, Histogram).stays = true
}

// gauges tells each gauge of ours that was ever set, as it was reported.
func (s *store) gauges(tell func(key []string, value float64, labels []metrics.Label)) {
	for _, e := range s.snapshot() {
		if e.def.Kind == Gauge && e.key[1] == "agent" {
			tell(s.reported(e), e.sum, e.labels)
		}
	}
}

// reported is the key of a series as go-metrics made it.
func (s *store) reported(e series) []string {
	if e.inHost {
		return slices.Insert(slices.Clone(e.key), 1, s.host)
	}
	return e.key
}

// forget drops what was not reported for so long; 0: nothing.
func (s *store) forget(after time.Duration) {
	if after <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(s.series, func(_ string, e *series) bool {
		return !e.stays && now.Round(0).Sub(e.updated.Round(0)) > after
	})
}

// snapshot is all there is, sorted by name and labels.
func (s *store) snapshot() []series {
	s.mu.Lock()
	all := make([]series, 0, len(s.series))
	for _, e := range s.series {
		c := *e
		c.buckets = slices.Clone(e.buckets)
		all = append(all, c)
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b series) int {
		return cmp.Or(slices.Compare(a.key, b.key), slices.CompareFunc(a.labels, b.labels, func(x, y metrics.Label) int {
			return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Value, y.Value))
		}))
	})
	return all
}
