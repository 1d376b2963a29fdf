package cases

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/internal/vaulttest"
)

// Script is one conversation with a server, written down: each request, and
// the status, the telling headers and the body of its answer, with everything
// that differs from run to run replaced by a name. Two servers that behave
// alike give the same text.
type Script struct {
	*vaulttest.Admin
	tb    vaulttest.TB
	text  strings.Builder
	names map[string]string
	count map[string]int
	// advance moves the server's clock; nil for one that has none to move.
	advance func(time.Duration)
}

// NewScript starts a conversation with the root token; advance moves the
// server's clock, and is nil for a server whose time passes by itself.
func NewScript(tb vaulttest.TB, admin *vaulttest.Admin, advance func(time.Duration)) *Script {
	names := map[string]string{admin.Token: "<root>"}
	return &Script{Admin: admin, tb: tb, names: names, count: map[string]int{}, advance: advance}
}

// Text is what has been written down so far.
func (s *Script) Text() string { return s.text.String() }

// Note writes down a remark.
func (s *Script) Note(format string, args ...any) {
	fmt.Fprintf(&s.text, "# "+format+"\n\n", args...)
}

// Name gives a value that differs from run to run a name in the text.
func (s *Script) Name(value, name string) { s.names[value] = name }

// Try sends a request as a, which is "with what" in the text, and writes down
// what comes back.
func (s *Script) Try(a *vaulttest.Admin, with, method, path string, body any) *vaulttest.Answer {
	s.tb.Helper()
	ans := a.For(s.tb).Do(method, path, body)
	sent := ""
	switch b := body.(type) {
	case nil:
	case string:
		sent = " " + b
	default:
		sent = " " + s.render("", toAny(b), "")
	}
	fmt.Fprintf(&s.text, "> %s%s %s%s\n%d\n", with, method, s.hide("", path), s.hideAll(sent), ans.Status)
	for _, h := range told {
		for _, v := range ans.Header.Values(h) {
			fmt.Fprintf(&s.text, "%s: %s\n", h, s.hide("", v))
		}
	}
	switch {
	case ans.JSON != nil:
		s.text.WriteString(s.render("", map[string]any(ans.JSON), "") + "\n")
	case len(ans.Body) > 0:
		s.text.WriteString(s.hide("", strings.TrimSpace(string(ans.Body))) + "\n")
	}
	s.text.WriteString("\n")
	return ans
}

// Root sends a request with the root token and writes down what comes back.
func (s *Script) Root(method, path string, body any) *vaulttest.Answer {
	s.tb.Helper()
	return s.Try(s.Admin, "", method, path, body)
}

// Anon sends a request without a token.
func (s *Script) Anon(method, path string, body any) *vaulttest.Answer {
	s.tb.Helper()
	return s.Try(s.As(""), "[no token] ", method, path, body)
}

// Using sends a request with this token.
func (s *Script) Using(token, method, path string, body any) *vaulttest.Answer {
	s.tb.Helper()
	return s.Try(s.As(token), "["+s.hide("token", token)+"] ", method, path, body)
}

// Wrapped sends a request with the root token and asks for response wrapping.
func (s *Script) Wrapped(ttl, method, path string, body any) *vaulttest.Answer {
	s.tb.Helper()
	return s.Try(s.With("X-Vault-Wrap-TTL", ttl), "[wrap "+ttl+"] ", method, path, body)
}

// Eventually asks until the answer is yes; what a server does in its own time
// is not part of the text.
func (s *Script) Eventually(what string, yes func() bool) {
	s.tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for !yes() {
		select {
		case <-tick.C:
		case <-end:
			s.tb.Fatalf("waited in vain until %s", what)
		}
	}
}

// Pass lets this time go by at the server, by its own clock.
func (s *Script) Pass(d time.Duration) {
	s.tb.Helper()
	if s.advance != nil {
		s.advance(d)
		return
	}
	clock := func() int { return s.As("").OK("GET", "sys/health", nil).Int("server_time_utc") }
	end := clock() + int(d/time.Second)
	s.Eventually("time has passed", func() bool { return clock() >= end })
}

// Gone lets time go by until the server does not know a token any more.
func (s *Script) Gone(token string) {
	s.tb.Helper()
	s.Ends("the token is gone", func() bool { return s.As(token).Do("GET", "auth/token/lookup-self", nil).Status == 403 })
}

// Ends lets time go by until the answer is yes.
func (s *Script) Ends(what string, yes func() bool) {
	s.tb.Helper()
	for i := 0; i < 600 && s.advance != nil && !yes(); i++ {
		s.advance(time.Second)
	}
	s.Eventually(what, yes)
}

// told are the headers that matter to a client.
var told = []string{
	"Content-Type", "Cache-Control", "Retry-After", "Location", "X-Vault-Namespace", "Allow",
}

// masked are the fields whose values differ from run to run or from one
// server to the next.
var masked = map[string]string{
	"request_id": "<request>", "cluster_name": "<cluster>", "cluster_id": "<cluster>", "build_date": "<time>",
	"server_time_utc": "<unix>", "uuid": "<uuid>", "running_plugin_version": "<plugin>",
	"creation_time": "<time>", "created_time": "<time>", "updated_time": "<time>",
	"issue_time": "<time>", "expire_time": "<time>", "last_renewal": "<time>", "last_renewal_time": "<unix>",
	"expiration": "<unix>", "certificate": "<pem>", "issuing_ca": "<pem>", "private_key": "<pem>", "serial_number": "<serial>",
	"issuer_id": "<uuid>", "key_id": "<uuid>", "client_id": "<client>", "authority_key_id": "<key>",
	"storage_type": "<storage>", "clock_skew_ms": "<ms>", "echo_duration_ms": "<ms>",
	"replication_primary_canary_age_ms": "<ms>",
}

var (
	uuid     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	tokens   = regexp.MustCompile(`hv[sbr]\.[A-Za-z0-9_-]{20,}`)
	stamp    = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)
	mount    = regexp.MustCompile(`\b(auth_)?[a-z]+_[0-9a-f]{8}\b`)
	release  = regexp.MustCompile(`^\d+\.\d+\.\d+$`)
	pemBody  = regexp.MustCompile(`(?s)^-----BEGIN `)
	rounded  = map[string]bool{"ttl": true, "lease_duration": true, "secret_id_ttl": true}
	password = regexp.MustCompile(`^[A-Za-z0-9]{36}$`)
	accessor = regexp.MustCompile(`^[A-Za-z0-9]{24}$`)
	leaseID  = regexp.MustCompile(`/[A-Za-z0-9]{24}$`)
)

// hide replaces what differs in one string, found in the field named key.
func (s *Script) hide(key, v string) string {
	if name, ok := s.names[v]; ok {
		return name
	}
	if mask := masked[key]; mask != "" && v != "" {
		return mask
	}
	switch {
	case key == "version" && release.MatchString(v):
		return "<version>"
	case strings.HasSuffix(key, "accessor") && accessor.MatchString(v):
		return s.nick(v, "accessor")
	case key == "password" && password.MatchString(v):
		return "<password>"
	case key == "token" && !tokens.MatchString(v):
		return v
	case pemBody.MatchString(v):
		return "<pem>"
	}
	return s.hideAll(v)
}

// hideAll replaces what differs wherever it stands in a text.
func (s *Script) hideAll(v string) string {
	for value, name := range s.names {
		if value != "" {
			v = strings.ReplaceAll(v, value, name)
		}
	}
	v = tokens.ReplaceAllStringFunc(v, func(t string) string { return s.nick(t, "token") })
	v = uuid.ReplaceAllStringFunc(v, func(u string) string { return s.nick(u, "uuid") })
	v = stamp.ReplaceAllString(v, "<time>")
	v = mount.ReplaceAllString(v, "<mount>")
	return leaseID.ReplaceAllStringFunc(v, func(l string) string { return "/" + s.nick(l[1:], "lease") })
}

// nick numbers values in the order they are seen, so that the text shows which
// ones are the same.
func (s *Script) nick(value, kind string) string {
	if n, ok := s.names[value]; ok {
		return n
	}
	s.count[kind]++
	n := fmt.Sprintf("<%s %d>", kind, s.count[kind])
	s.names[value] = n
	return n
}

// render writes a value as JSON, keys sorted, short things on one line.
func (s *Script) render(key string, v any, indent string) string {
	switch v := v.(type) {
	case map[string]any:
		return s.object(v, indent)
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = s.render(key, e, indent+"  ")
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case string:
		return quote(s.hide(key, v))
	case json.Number:
		return s.number(key, v)
	default:
		return quote(v)
	}
}

func (s *Script) object(m map[string]any, indent string) string {
	if len(m) == 0 {
		return "{}"
	}
	var b strings.Builder
	b.WriteString("{\n")
	for i, k := range sortedKeys(m) {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, "%s  %s: %s", indent, quote(s.hideAll(k)), s.render(k, m[k], indent+"  "))
	}
	return b.String() + "\n" + indent + "}"
}

// number rounds what counts down while the script runs.
func (s *Script) number(key string, v json.Number) string {
	if mask := masked[key]; mask != "" {
		return quote(mask)
	}
	n, err := strconv.ParseFloat(v.String(), 64)
	if err != nil || !rounded[key] || n < 20 {
		return v.String()
	}
	return strconv.Itoa(int(math.Ceil(n/10)) * 10)
}

func quote(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
	return strings.TrimSuffix(b.String(), "\n")
}

// toAny gives a Go value the shape that JSON gives it.
func toAny(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	var out any
	_ = dec.Decode(&out)
	return out
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
