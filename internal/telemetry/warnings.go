package telemetry

import (
	"fmt"
	"slices"
	"strings"

	"latchkey/internal/config"
)

// Warnings says what of a telemetry stanza is not done as it says; nil gives
// none.
func Warnings(c *config.Telemetry) []config.Warning {
	if c == nil {
		return nil
	}
	var ws []config.Warning
	warn := func(key, text, hint string) {
		ws = append(ws, config.Warning{Pos: c.Pos, Key: "telemetry." + key, Text: text, Hint: hint})
	}
	var unsupported []string
	for key := range c.Other {
		unsupported = append(unsupported, key)
	}
	slices.Sort(unsupported)
	for _, key := range unsupported {
		warn(key, "is not supported, and nothing is sent there", "Prometheus, statsd, statsite, DogStatsD and OTLP are")
	}
	_, _, bad := filters(c.PrefixFilter)
	for _, rule := range bad {
		warn("prefix_filter", fmt.Sprintf("holds %q, which is no rule and is left out", rule), `a rule is + or - and a prefix, such as "+vault.agent"`)
	}
	if c.PrometheusRetentionTime > 0 && hostInNames(c) && !c.EnableHostnameLabel {
		warn("disable_hostname", "is false, so the names of gauges have the host in them", "Prometheus knows where a metric is from; set disable_hostname = true")
	}
	return ws
}

// filters reads prefix_filter: "+prefix" lets pass, "-prefix" does not. What is
// neither is returned as bad.
func filters(rules []string) (allow, block, bad []string) {
	for _, rule := range rules {
		prefix := strings.TrimLeft(rule, "+-")
		switch {
		case prefix == "" || len(prefix) != len(rule)-1:
			bad = append(bad, rule)
		case rule[0] == '+':
			allow = append(allow, prefix)
		default:
			block = append(block, prefix)
		}
	}
	return allow, block, bad
}
