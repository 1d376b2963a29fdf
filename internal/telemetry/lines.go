package telemetry

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/hashicorp/go-metrics"
)

// A dialect writes one measurement as a line, with its line break. typ is c, g or
// ms.
type dialect func(key []string, value float64, typ string, labels []metrics.Label) string

// statsd is for statsd and statsite alike. They know no labels, so the values
// become further parts of the name, as in Vault Agent.
func statsd(key []string, value float64, typ string, labels []metrics.Label) string {
	parts := slices.Clone(key)
	for _, l := range labels {
		parts = append(parts, l.Value)
	}
	return lineName(strings.Join(parts, ".")) + ":" + strconv.FormatFloat(value, 'f', 6, 64) + "|" + typ + "\n"
}

// dogstatsd has tags: those of the stanza, and labels as name:value. The host is
// taken out of the name, since the Datadog agent adds it as a tag.
func dogstatsd(host string, tags []string) dialect {
	var fixed []string
	for _, t := range tags {
		fixed = append(fixed, lineTag(t))
	}
	return func(key []string, value float64, typ string, labels []metrics.Label) string {
		if typ == "g" && host != "" && len(key) > 2 {
			key = slices.Concat(key[:1], key[2:])
		}
		all := slices.Clone(fixed)
		for _, l := range labels {
			all = append(all, lineTag(l.Name+":"+l.Value))
		}
		line := lineName(strings.Join(key, ".")) + ":" + dogNumber(value, typ) + "|" + typ
		if len(all) > 0 {
			line += "|#" + strings.Join(all, ",")
		}
		return line + "\n"
	}
}

func dogNumber(value float64, typ string) string {
	if typ == "ms" {
		return strconv.FormatFloat(value, 'f', 6, 64)
	}
	return strconv.FormatFloat(value, 'f', -1, 64)
}

// lineName keeps what has a meaning in a line out of a name.
func lineName(s string) string { return without(s, ":|@#,") }

// lineTag does for a tag, in which colons are allowed.
func lineTag(s string) string { return without(s, "|#,") }

func without(s, forbidden string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(forbidden, r) {
			return '_'
		}
		return r
	}, s)
}
