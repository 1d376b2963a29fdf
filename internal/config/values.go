package config

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fault says why a value does not fit its key. It never quotes the value: that
// may be a secret.
type fault struct{ text, hint string }

func faultf(hint, format string, a ...any) *fault { return &fault{fmt.Sprintf(format, a...), hint} }

func wrongKind(want string, n *node) *fault { return faultf("", "must be %s, not %s", want, n.kind) }

// asString takes strings, and numbers as they are written: a user id may stand
// without quotes.
func asString(n *node) (string, *fault) {
	switch n.kind {
	case kString, kNumber:
		return n.text, nil
	}
	return "", wrongKind("a string", n)
}

// asBool takes true, false, 1, 0 and the same as strings. An empty string is
// false, as in Vault Agent.
func asBool(n *node) (bool, *fault) {
	switch n.kind {
	case kBool, kNumber, kString:
		if n.kind == kString && n.text == "" {
			return false, nil
		}
		if v, err := strconv.ParseBool(strings.TrimSpace(n.text)); err == nil {
			return v, nil
		}
	default:
		return false, wrongKind("true or false", n)
	}
	return false, faultf("", "must be true or false")
}

// asInt64 takes whole numbers, also as strings; in HCL 0640 is octal and 0x1F
// is hexadecimal.
func asInt64(n *node) (int64, *fault) {
	if n.kind != kNumber && n.kind != kString {
		return 0, wrongKind("a whole number", n)
	}
	if v, err := strconv.ParseInt(n.text, 0, 64); err == nil {
		return v, nil
	}
	if v, err := strconv.ParseFloat(n.text, 64); err == nil && v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return int64(v), nil
	}
	return 0, faultf("", "must be a whole number")
}

func asInt(n *node) (int, *fault) {
	v, bad := asInt64(n)
	if bad == nil && int64(int(v)) != v {
		return 0, faultf("", "is too large")
	}
	return int(v), bad
}

func asFloat(n *node) (float64, *fault) {
	if n.kind != kNumber && n.kind != kString {
		return 0, wrongKind("a number", n)
	}
	v, err := strconv.ParseFloat(n.text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, faultf("", "must be a number")
	}
	return v, nil
}

const durationHint = `write seconds as a number, or a unit: "90s", "5m", "1h", "1d"`

// asDuration takes seconds as a number, also in a string, and strings with a
// unit; d is 24 hours.
func asDuration(n *node) (time.Duration, *fault) {
	bad := faultf(durationHint, "must be a duration")
	if n.kind != kNumber && n.kind != kString {
		return 0, faultf(durationHint, "must be a duration, not %s", n.kind)
	}
	text := strings.TrimSpace(n.text)
	if text == "" {
		return 0, nil
	}
	base := 10
	if n.kind == kNumber {
		base = 0
	}
	d, err := time.Duration(0), error(nil)
	if v, e := strconv.ParseInt(text, base, 64); e == nil {
		d, err = times(v, time.Second)
	} else if days, ok := strings.CutSuffix(text, "d"); ok {
		v, e := strconv.ParseInt(days, 10, 64)
		if e != nil {
			return 0, bad
		}
		d, err = times(v, 24*time.Hour)
	} else if v, e := strconv.ParseFloat(text, 64); e == nil && n.kind == kNumber {
		if math.Abs(v) > math.MaxInt64/float64(time.Second)/2 {
			return 0, bad
		}
		d = time.Duration(v * float64(time.Second))
	} else {
		d, err = time.ParseDuration(text)
	}
	switch {
	case err != nil:
		return 0, bad
	case d < 0:
		return 0, faultf("", "must not be negative")
	}
	return d, nil
}

func times(v int64, unit time.Duration) (time.Duration, error) {
	if v > int64(math.MaxInt64/unit) || v < int64(math.MinInt64/unit) {
		return 0, strconv.ErrRange
	}
	return time.Duration(v) * unit, nil
}

const sizeHint = `write bytes as a number, or a unit: "64KiB", "128MiB", "1GiB"`

// asSize takes bytes as a number, also in a string, and strings with a unit: KiB,
// MiB and GiB are powers of 1024, KB, MB and GB of 1000.
func asSize(n *node) (int64, *fault) {
	if n.kind != kNumber && n.kind != kString {
		return 0, faultf(sizeHint, "must be a size, not %s", n.kind)
	}
	digits, unit := strings.TrimSpace(n.text), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(digits, u.name); ok {
			digits, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	v, bad := asInt64(&node{kind: n.kind, text: digits, src: n.src})
	switch {
	case bad != nil:
		return 0, faultf(sizeHint, "must be a size")
	case v < 0:
		return 0, faultf("", "must not be negative")
	case v > math.MaxInt64/unit:
		return 0, faultf("", "is too large")
	}
	return v * unit, nil
}

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1},
}

// shortSize is 128MiB for what asSize reads as such.
func shortSize(v int64) string {
	for _, u := range slices.Backward(sizeUnits[:3]) {
		if v >= u.bytes && v%u.bytes == 0 {
			return strconv.FormatInt(v/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(v, 10)
}

// behavior receives static_secret_token_capability_refresh_behavior, whose
// values the table knows.
type behavior struct{ pessimistic *bool }

func (b behavior) set(s string) *fault {
	*b.pessimistic = s == pessimistic
	return nil
}

const pessimistic = "pessimistic"

// asMode takes an octal number in HCL (0640), an octal string anywhere ("0640",
// "640"), and a decimal number in JSON (416), as Vault Agent does.
func asMode(n *node) (fs.FileMode, *fault) {
	var v uint64
	var err error
	switch n.kind {
	case kNumber:
		base := 0
		if n.json() {
			base = 10
		}
		v, err = strconv.ParseUint(n.text, base, 32)
	case kString:
		v, err = strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(n.text), "0o"), 8, 32)
	default:
		return 0, wrongKind("a file mode", n)
	}
	switch {
	case err != nil:
		return 0, faultf(`write it as an octal string: "0640"`, "must be a file mode")
	case v > 0o777 && n.kind == kNumber && isOctalDigits(n.text):
		return 0, faultf(fmt.Sprintf("a number without a leading zero is decimal; write %q", "0"+n.text),
			"is no file mode: decimal %s is octal %#o", n.text, v)
	case v > 0o777:
		return 0, faultf("", "is no file mode: only permission bits, up to 0777, can be set")
	}
	return fs.FileMode(v), nil
}

func isOctalDigits(s string) bool {
	return len(s) == 3 && strings.Trim(s, "01234567") == ""
}

// asList takes a list of strings, or one string as the only element.
func asList(n *node) ([]string, *fault) {
	if n.kind != kList {
		s, bad := asString(n)
		if bad != nil {
			return nil, wrongKind("a list of strings", n)
		}
		if s == "" {
			return nil, nil
		}
		return []string{s}, nil
	}
	out := make([]string, 0, len(n.list))
	for _, e := range n.list {
		s, bad := asString(e)
		if bad != nil {
			return nil, faultf("", "must be a list of strings; one element is %s", e.kind)
		}
		out = append(out, s)
	}
	return out, nil
}

// asCommas takes a list of strings, or one string that commas split.
func asCommas(n *node) ([]string, *fault) {
	out, bad := asList(n)
	if bad != nil || n.kind == kList || len(out) == 0 {
		return out, bad
	}
	return splitCommas(out[0]), nil
}

func splitCommas(s string) []string {
	var out []string
	for _, p := range strings.Split(s, ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// asMap takes a block of strings, or a list of such blocks as JSON has it.
func asMap(n *node) (map[string]string, *fault) {
	blocks := []*node{n}
	if n.kind == kList {
		blocks = n.list
	}
	out := map[string]string{}
	for _, b := range blocks {
		if b.kind != kObject {
			return nil, wrongKind("a map of strings", b)
		}
		for _, e := range b.entries {
			s, bad := asScalar(e.val)
			if bad != nil || len(e.labels) > 0 {
				return nil, faultf("", "must be a map of strings; %q is not a string", e.key)
			}
			out[e.key] = s
		}
	}
	return out, nil
}

func asScalar(n *node) (string, *fault) {
	if n.kind == kBool {
		return n.text, nil
	}
	return asString(n)
}

func asLend(n *node) (AutoAuthToken, *fault) {
	if n.kind == kString && strings.EqualFold(n.text, "force") {
		return AutoAuthTokenForce, nil
	}
	v, bad := asBool(n)
	switch {
	case bad != nil:
		return "", faultf("", `must be true, false or "force"`)
	case v:
		return AutoAuthTokenYes, nil
	}
	return AutoAuthTokenNo, nil
}

// asWait takes "min" and "min:max".
func asWait(n *node) (*Wait, *fault) {
	s, bad := asString(n)
	if bad != nil {
		return nil, wrongKind(`"min:max" or a block`, n)
	}
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	lo, hi, both := strings.Cut(s, ":")
	w := &Wait{}
	if w.Min, bad = asDuration(text(lo)); bad != nil {
		return nil, bad
	}
	if both {
		w.Max, bad = asDuration(text(hi))
	}
	return w, bad
}

// rateLimit receives VAULT_RATE_LIMIT: "rate" or "rate:burst".
type rateLimit struct{ v *Vault }

func (r rateLimit) set(s string) *fault {
	rate, burst, both := strings.Cut(s, ":")
	bad := faultf(`for example "10" or "10:20"`, `must be a number of requests per second, or "rate:burst"`)
	v, err := strconv.ParseFloat(rate, 64)
	if err != nil || !(v >= 0) || math.IsInf(v, 0) {
		return bad
	}
	b := int(math.Min(v, 1<<30))
	if both {
		if b, err = strconv.Atoi(burst); err != nil || b < 0 {
			return bad
		}
	}
	r.v.RateLimit, r.v.RateBurst = v, b
	return nil
}

// headerMap receives VAULT_HEADERS and -header: a JSON object, or lines of
// Name=value.
type headerMap struct{ m *Headers }

func (h headerMap) set(s string) *fault {
	out := Headers{}
	if strings.HasPrefix(strings.TrimSpace(s), "{") {
		if err := json.Unmarshal([]byte(s), &out); err != nil {
			return faultf(`for example {"X-Team": "blue"}`, "must be a JSON object of strings")
		}
	} else {
		for _, line := range strings.Split(s, "\n") {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			name, val, ok := strings.Cut(line, "=")
			if !ok {
				return faultf(`for example {"X-Team": "blue"}`, "must be a JSON object, or Name=value")
			}
			out[strings.TrimSpace(name)] = strings.TrimSpace(val)
		}
	}
	for name := range out {
		if len(name) >= 8 && strings.EqualFold(name[:8], "X-Vault-") {
			return faultf("names that begin with X-Vault- belong to the client", "header %q may not be set", name)
		}
	}
	*h.m = out
	return nil
}

// text is a value from the environment, a flag or the table's defaults.
func text(s string) *node { return &node{kind: kString, text: s, src: outside} }

var outside = &source{json: true}

// assign puts n where at points. The type of the pointer says what is wanted;
// typ tells the list forms apart.
func assign(at any, typ typ, name string, n *node) *fault {
	var bad *fault
	switch at := at.(type) {
	case *string:
		return store(at, n, asString)
	case *bool:
		return store(at, n, asBool)
	case *int:
		if typ == tSize {
			return store(at, n, func(n *node) (int, *fault) {
				v, bad := asSize(n)
				if bad == nil && int64(int(v)) != v {
					bad = faultf("", "is too large")
				}
				return int(v), bad
			})
		}
		return store(at, n, asInt)
	case *int64:
		if typ == tSize {
			return store(at, n, asSize)
		}
		return store(at, n, asInt64)
	case *float64:
		return store(at, n, asFloat)
	case *time.Duration:
		return store(at, n, asDuration)
	case *fs.FileMode:
		return store(at, n, asMode)
	case *AutoAuthToken:
		return store(at, n, asLend)
	case *[]string:
		if typ == tCommas {
			return store(at, n, asCommas)
		}
		return store(at, n, asList)
	case *map[string]string:
		if typ != tString {
			return store(at, n, asMap)
		}
		if *at == nil {
			*at = map[string]string{}
		}
		(*at)[name], bad = asScalar(n)
		return bad
	case *Headers:
		return store(at, n, func(n *node) (Headers, *fault) { m, bad := asMap(n); return m, bad })
	case **bool:
		return storePtr(at, n, asBool)
	case **fs.FileMode:
		return storePtr(at, n, asMode)
	case **Wait:
		return store(at, n, asWait)
	case interface{ set(string) *fault }:
		s, bad := asString(n)
		if bad != nil {
			return bad
		}
		return at.set(s)
	}
	panic(fmt.Sprintf("config: %s: no way to fill a %T", name, at))
}

func store[T any](at *T, n *node, as func(*node) (T, *fault)) *fault {
	v, bad := as(n)
	if bad == nil {
		*at = v
	}
	return bad
}

func storePtr[T any](at **T, n *node, as func(*node) (T, *fault)) *fault {
	v, bad := as(n)
	if bad == nil {
		*at = &v
	}
	return bad
}
