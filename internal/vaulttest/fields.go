package vaulttest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The fields of a body, taken as loosely as the server takes them.

func (r *request) has(key string) bool {
	v, ok := r.body[key]
	return ok && v != nil
}

func (r *request) str(key string) string {
	switch v := r.body[key].(type) {
	case string:
		return v
	case nil:
		return ""
	default:
		return fmt.Sprint(v)
	}
}

// strs takes a list or a text with commas.
func (r *request) strs(key string) []string {
	out := []string{}
	switch v := r.body[key].(type) {
	case string:
		for p := range strings.SplitSeq(v, ",") {
			if p = strings.TrimSpace(p); p != "" {
				out = append(out, p)
			}
		}
	case []any:
		for _, e := range v {
			out = append(out, fmt.Sprint(e))
		}
	}
	return out
}

func (r *request) boolean(key string, otherwise bool) bool {
	switch v := r.body[key].(type) {
	case bool:
		return v
	case string:
		b, err := strconv.ParseBool(v)
		return err == nil && b
	}
	return otherwise
}

func (r *request) integer(key string) int {
	switch v := r.body[key].(type) {
	case json.Number:
		n, _ := v.Int64()
		return int(n)
	case string:
		n, _ := strconv.Atoi(v)
		return n
	}
	return 0
}

// duration takes seconds or a text with units.
func (r *request) duration(key string) (time.Duration, error) {
	d, err := parseDuration(r.str(key))
	if err == nil && d < 0 {
		return 0, fmt.Errorf("cannot provide negative value '%d'", seconds(d))
	}
	return d, err
}

func parseDuration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	return time.ParseDuration(text)
}

// texts takes an object of texts.
func (r *request) texts(key string) map[string]string {
	m, _ := r.body[key].(map[string]any)
	if m == nil {
		return nil
	}
	out := map[string]string{}
	for k, v := range m {
		out[k] = fmt.Sprint(v)
	}
	return out
}

func seconds(d time.Duration) int { return int(d / time.Second) }

// short writes a duration as the server does in its warnings: 1h, not 1h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
