package telemetry

import (
	"bytes"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-metrics"
)

// contentType is Prometheus' text format.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// exposition writes Prometheus' text format. Names and labels come out as the
// format allows them, whatever they went in as.
type exposition struct {
	bytes.Buffer
	constant []metrics.Label
	family   string
}

// head begins a family of series, unless it has begun already; those of one
// family must follow each other.
func (x *exposition) head(family, typ, help string) {
	if family == x.family {
		return
	}
	x.family = family
	if help != "" {
		x.WriteString("# HELP " + family + " " + escape(help, false) + "\n")
	}
	x.WriteString("# TYPE " + family + " " + typ + "\n")
}

// line writes one value; extra is a label that only this line has.
func (x *exposition) line(name string, value float64, labels []metrics.Label, extra ...metrics.Label) {
	x.WriteString(name)
	sep := "{"
	var seen []string
	for _, l := range slices.Concat(x.constant, labels, extra) {
		n := labelName(l.Name)
		if slices.Contains(seen, n) {
			continue // the format allows each once
		}
		seen = append(seen, n)
		x.WriteString(sep + n + `="` + escape(l.Value, true) + `"`)
		sep = ","
	}
	if sep == "," {
		x.WriteString("}")
	}
	x.WriteString(" " + number(value) + "\n")
}

// prometheus writes the store and what there is to say of the process.
func (p *pipe) prometheus(w io.Writer) error {
	p.store.forget(p.c.PrometheusRetentionTime)
	x := &exposition{}
	processMetrics(x)
	if p.o.Cluster != "" {
		x.constant = []metrics.Label{{Name: "cluster", Value: p.o.Cluster}}
	}
	// Sorted again: what is apart by its dots may be together by its underscores.
	all := p.store.snapshot()
	slices.SortStableFunc(all, func(a, b series) int {
		return strings.Compare(metricName(p.store.reported(a)), metricName(p.store.reported(b)))
	})
	for _, e := range all {
		x.series(metricName(p.store.reported(e)), e)
	}
	_, err := w.Write(x.Bytes())
	return err
}

func (x *exposition) series(name string, e series) {
	help := e.def.Help
	if e.def.Unit != "" && help != "" {
		help += ", in " + e.def.Unit
	}
	switch {
	case e.def.Kind == Gauge:
		x.head(name, "gauge", help)
		x.line(name, e.sum, e.labels)
	case e.def.Kind == Counter:
		x.head(name, "counter", help)
		x.line(name, e.sum, e.labels)
	case e.buckets == nil: // a summary without quantiles
		x.head(name, "summary", help)
		x.line(name+"_sum", e.sum, e.labels)
		x.line(name+"_count", float64(e.count), e.labels)
	default:
		x.head(name, "histogram", help)
		var below uint64
		for i, n := range e.buckets {
			below += n
			le := math.Inf(1)
			if i < len(bounds) {
				le = bounds[i]
			}
			x.line(name+"_bucket", float64(below), e.labels, metrics.Label{Name: "le", Value: number(le)})
		}
		x.line(name+"_sum", e.sum, e.labels)
		x.line(name+"_count", float64(e.count), e.labels)
	}
}

// metricName joins a key to a name of the format: [a-zA-Z_:][a-zA-Z0-9_:]*.
func metricName(key []string) string { return legal(strings.Join(key, "_"), true) }

// labelName is the same without colons.
func labelName(s string) string { return legal(s, false) }

func legal(s string, colons bool) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', colons && r == ':':
			return r
		}
		return '_'
	}, s)
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		s = "_" + s
	}
	return s
}

// escape is what the format wants of a help text and, with quotes, of a label's
// value.
func escape(s string, quotes bool) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "_"), `\`, `\\`)
	s = strings.ReplaceAll(s, "\n", `\n`)
	if quotes {
		s = strings.ReplaceAll(s, `"`, `\"`)
	}
	return s
}

func number(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
