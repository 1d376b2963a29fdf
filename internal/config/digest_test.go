package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// saying is a configuration before it is written down: keys and what they say.
type saying struct {
	key   string
	label string
	// value is a string, int, bool, float64, []string, map[string]string, or a
	// file mode; nil for a block.
	value any
	block []*saying
}

// aMode is written as 0640, "0640" or, in JSON, 416.
type aMode uint32

// settled values are those that the resolver knows.
var settled = map[string][]any{
	"address":                  {"https://a.example:8200", "http://b.example:8200", "https://[::1]:8200"},
	"log_level":                {"trace", "debug", "warn", "error"},
	"log_format":               {"json"},
	"disable_idle_connections": {[]string{"auto-auth"}, []string{"caching", "proxying"}},
	"disable_keep_alives":      {[]string{"auto-auth"}, []string{"templating"}},
	"wait":                     {"5s:10s", "6s", "7s:9s"},
	"use_auto_auth_token":      {true, "force"},
	"lease_renewal_threshold":  {0.5, 0.75},
}

// anyOf makes a value for a row, other than was.
func anyOf(r *rand.Rand, k *key, was any) any {
	for range 1000 {
		if v := candidate(r, k); fmt.Sprint(v) != fmt.Sprint(was) {
			return v
		}
	}
	panic("there is one value only for " + k.name)
}

func candidate(r *rand.Rand, k *key) any {
	word := func() string {
		const letters = "abcdefghijklmnop/._-:0123456789 \"\\#=é"
		var b strings.Builder
		b.WriteByte('x')
		for range r.IntN(12) {
			rs := []rune(letters)
			b.WriteRune(rs[r.IntN(len(rs))])
		}
		return strings.TrimSpace(b.String())
	}
	words := func() (out []string) {
		for range 1 + r.IntN(3) {
			out = append(out, strings.NewReplacer(",", "", " ", "").Replace(word()))
		}
		return out
	}
	switch {
	case settled[k.name] != nil:
		return settled[k.name][r.IntN(len(settled[k.name]))]
	case len(k.oneOf) > 0:
		return k.oneOf[r.IntN(len(k.oneOf))]
	}
	switch k.typ {
	case tBool:
		return r.IntN(2) == 0
	case tInt:
		return 1 + r.IntN(1000)
	case tFloat:
		return float64(r.IntN(100)) / 128
	case tDur:
		return []any{1 + r.IntN(86400), strconv.Itoa(1+r.IntN(99)) + "m"}[r.IntN(2)]
	case tMode:
		return aMode(r.IntN(0o777))
	case tSize:
		return []any{1 + r.IntN(1<<30), strconv.Itoa(1+r.IntN(99)) + "MiB"}[r.IntN(2)]
	case tList, tCommas, tArgv:
		return words()
	case tMap:
		return map[string]string{"a" + strconv.Itoa(r.IntN(5)): word(), "b": word()}
	}
	return word()
}

// invent writes a stanza's keys at random; what a block needs for not being
// passed over is always there.
func invent(r *rand.Rand, st *stanza) []*saying {
	var out []*saying
	for i := range st.keys {
		k := &st.keys[i]
		if k.ignored != "" || k.aliasOf != "" || k.notInFile || k.name == st.label || strings.Contains(k.name, "*") || k.name == "enabled" {
			continue
		}
		needed := k.required || k.name == "command"
		if !needed && r.IntN(4) == 0 {
			continue
		}
		switch {
		case k.name == "sinks":
		case k.typ == tBody:
			out = append(out, &saying{key: k.name, block: []*saying{
				{key: "path", value: "/p" + strconv.Itoa(r.IntN(1000))}, {key: "mode", value: aMode(r.IntN(0o777))},
				{key: "switch", value: r.IntN(2) == 0}, {key: "number", value: 1 + r.IntN(1000)}, {key: "names", value: []string{"a", "b"}},
			}})
		case k.sub != nil:
			n := 1
			if k.typ == tBlocks {
				n = 1 + r.IntN(2)
			}
			for range n {
				b := &saying{key: k.name, block: invent(r, k.sub)}
				if k.sub.label != "" {
					b.label = "N" + strconv.Itoa(r.IntN(1000))
					if t := find(k.sub.keys, k.sub.label); t != nil && len(t.oneOf) > 0 {
						b.label = t.oneOf[r.IntN(len(t.oneOf))]
					}
				}
				out = append(out, b)
			}
		default:
			out = append(out, &saying{key: k.name, value: anyOf(r, k, nil)})
		}
	}
	return out
}

// shuffled is the same in another order; blocks of one name keep theirs, which
// means something.
func shuffled(r *rand.Rand, in []*saying) []*saying {
	out := slices.Clone(in)
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	order := map[*saying]int{}
	for i, s := range in {
		order[s] = i
	}
	for i := range out {
		for j := i + 1; j < len(out); j++ {
			if out[i].key == out[j].key && order[out[i]] > order[out[j]] {
				out[i], out[j] = out[j], out[i]
			}
		}
	}
	return out
}

// asHCL writes it down, each time with other white space, comments and order.
func asHCL(r *rand.Rand, in []*saying) string {
	var b strings.Builder
	noise := func() {
		b.WriteString([]string{"\n", "\n\n", "\n# a comment = { \"\n", "\n/* one\nmore */ ", "\n\t// x\n"}[r.IntN(5)])
	}
	for _, s := range shuffled(r, in) {
		noise()
		if s.value == nil {
			b.WriteString(s.key)
			if s.label != "" {
				b.WriteString(" " + strconv.Quote(s.label))
			}
			b.WriteString(" {" + asHCL(r, s.block) + "\n}")
			continue
		}
		b.WriteString(s.key + strings.Repeat(" ", r.IntN(4)) + "= " + hclValue(r, s.value))
	}
	noise()
	return b.String()
}

func hclValue(r *rand.Rand, v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case aMode:
		return fmt.Sprintf([]string{"0%o", `"0%o"`, `"%o"`}[r.IntN(3)], uint32(v))
	case []string:
		var q []string
		for _, s := range v {
			q = append(q, strconv.Quote(s))
		}
		return "[" + strings.Join(q, ", ") + "]"
	case map[string]string:
		var q []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			q = append(q, k+" = "+strconv.Quote(v[k]))
		}
		r.Shuffle(len(q), func(i, j int) { q[i], q[j] = q[j], q[i] })
		return "{\n" + strings.Join(q, "\n") + "\n}"
	case bool, int:
		return fmt.Sprintf([]string{"%v", `"%v"`}[r.IntN(2)], v)
	}
	return fmt.Sprint(v)
}

// object is the same for encoding/json, which sorts the keys.
func object(r *rand.Rand, in []*saying) map[string]any {
	out := map[string]any{}
	for _, s := range in {
		switch v := s.value.(type) {
		case nil:
			var inner any = object(r, s.block)
			if s.label != "" {
				inner = map[string]any{s.label: inner}
			}
			list, _ := out[s.key].([]any)
			out[s.key] = append(list, inner)
		case aMode:
			out[s.key] = []any{uint32(v), fmt.Sprintf("0%o", uint32(v))}[r.IntN(2)]
		default:
			out[s.key] = v
		}
	}
	return out
}

// leaves lists every value with the row it belongs to and the block at the top
// that it is in.
func leaves(st *stanza, in []*saying, top string, each func(top string, k *key, s *saying)) {
	for _, s := range in {
		k := find(st.keys, s.key)
		at := top
		if at == "" {
			at = s.key
		} else if top == "auto_auth" && s.key == "sink" {
			at = "sink"
		}
		switch {
		case k != nil && k.typ == tBody:
			for _, in := range s.block {
				body := &key{name: in.key, typ: tString}
				switch in.value.(type) {
				case aMode:
					body.typ = tMode
				case bool:
					body.typ = tBool
				case int:
					body.typ = tInt
				case []string:
					body.typ = tList
				}
				each(at, body, in)
			}
		case s.value == nil:
			leaves(k.sub, s.block, at, each)
		default:
			each(at, k, s)
		}
	}
}

// belongs is the section, or sections, that a key of the top is part of.
func belongs(top, name string) []string {
	switch {
	case name == "max_connections_per_host":
		return []string{"templates", "vault"}
	case strings.HasPrefix(top, "log_"):
		return []string{"log"}
	}
	switch top {
	case "auto_auth":
		return []string{"auth"}
	case "sink":
		return []string{"sinks"}
	case "template", "template_config", "env_template":
		return []string{"templates"}
	case "listener", "status_socket":
		return []string{"listeners"}
	case "api_proxy", "cache":
		return []string{"proxy"}
	case "cluster_name":
		return []string{"telemetry"}
	case "disable_idle_connections", "disable_keep_alives":
		return []string{"vault"}
	case "exit_after_auth":
		return nil
	}
	return []string{top}
}

func digests(t *testing.T, name, text string) map[string]string {
	t.Helper()
	f, _, err := load(t, name, text).Resolve(nil, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	out := map[string]string{}
	for s := range sections {
		out[s] = f.Digest(s)
	}
	return out
}

func differing(a, b map[string]string) []string {
	var out []string
	for _, s := range slices.Sorted(maps.Keys(a)) {
		if a[s] != b[s] {
			out = append(out, s)
		}
	}
	return out
}

func TestDigestIsThatOfTheMeaning(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		said := invent(r, &topStanza)
		text := asHCL(r, said)
		want := digests(t, "a.hcl", text)
		for range 3 {
			other := asHCL(r, said)
			if d := differing(want, digests(t, "b.hcl", other)); d != nil {
				t.Fatalf("seed %d: %v differ\n%s\n----\n%s", seed, d, text, other)
			}
		}
		asJSON, err := json.Marshal(object(r, said))
		if err != nil {
			t.Fatal(err)
		}
		if d := differing(want, digests(t, "a.json", string(asJSON))); d != nil {
			t.Fatalf("seed %d: %v differ\n%s\n----\n%s", seed, d, text, asJSON)
		}
	}
}

func TestDigestOfAnyOtherValueIsAnother(t *testing.T) {
	changed := map[string]bool{}
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 2))
		said := invent(r, &topStanza)
		text := asHCL(r, said)
		before := digests(t, "a.hcl", text)
		leaves(&topStanza, said, "", func(top string, k *key, s *saying) {
			// A seed changes some of them, all seeds together change all.
			if at := top + "." + k.name; changed[at] {
				return
			} else if was := s.value; was == nil || fixed(k) {
				return
			} else {
				changed[at] = true
				s.value = anyOf(r, k, was)
				defer func() { s.value = was }()
				if b, ok := was.(bool); ok {
					s.value = !b
				}
			}
			after := asHCL(r, said)
			if got, want := differing(before, digests(t, "a.hcl", after)), belongs(top, k.name); !slices.Equal(got, want) {
				t.Errorf("seed %d: %s.%s changed, and with it the digests %v, want %v\n%s", seed, top, k.name, got, want, after)
			}
		})
	}
	if len(changed) < 120 {
		t.Errorf("only %d keys were changed", len(changed))
	}
}

// fixed keys have one value that may be written.
func fixed(k *key) bool { return len(k.oneOf) == 1 || len(settled[k.name]) == 1 }

func TestDigestSeesWhatIsLeftOut(t *testing.T) {
	base := aAuth + aTemplate + aListener
	for section, text := range map[string]string{
		"auth":      "auto_auth {\n" + aMethod + "\n" + aSink + "\nhandover { path = \"h\" key_env = \"K\" }\n}\n" + aTemplate + aListener,
		"sinks":     "auto_auth {\n" + aMethod + "\n" + aSink + "\n" + aSink + "\n}\n" + aTemplate + aListener,
		"templates": aAuth + aTemplate + aTemplate + aListener,
		"exec":      base + anExec,
		"listeners": base + aListener,
		"proxy":     base + "cache { }",
		"telemetry": base + "telemetry { }",
	} {
		if got := differing(digests(t, "a.hcl", base), digests(t, "a.hcl", text)); !slices.Equal(got, []string{section}) {
			t.Errorf("%s: %v differ", section, got)
		}
	}
}

func TestDigestOfNumbersThatReadAlike(t *testing.T) {
	digest := func(value string) string {
		return digests(t, "a.hcl", "auto_auth {\nmethod \"jwt\" { config { jwt_read_period = "+value+" } }\n"+aSink+"\n}")["auth"]
	}
	if digest("010") == digest(`"010"`) {
		t.Error("8 seconds are 10")
	}
	if digest("10") != digest(`"10"`) {
		t.Error("10 seconds are not 10")
	}
}

func TestDigestTellsNothing(t *testing.T) {
	const secret = "hvs.canary"
	f := resolved(t, aAuth+"telemetry { otlp_headers = { authorization = \""+secret+"\" } }")
	a, b := f.digest("telemetry", []byte("one process")), f.digest("telemetry", []byte("another"))
	if a == b {
		t.Error("whoever guesses the value can see that it is right")
	}
	if len(a) != 32 || strings.Contains(a, secret) {
		t.Errorf("got %q", a)
	}
	defer func() {
		if recover() == nil {
			t.Error("a section that does not exist has a digest")
		}
	}()
	f.Digest("sink")
}

func TestALoginStandsForServerAndMethod(t *testing.T) {
	login := func(address, role string) string {
		return (&File{
			Vault: Vault{Address: address},
			AutoAuth: &AutoAuth{
				Method: Method{Type: "jwt", Config: NewBlock("jwt", map[string]any{"role": role})},
				Sinks:  []Sink{{Type: address + role}},
			},
		}).Login()
	}
	if first, second := login("https://a", "one"), login("https://a", "one"); first != second {
		t.Error("the same login is another one")
	}
	if login("https://a", "one") == login("https://b", "one") || login("https://a", "one") == login("https://a", "two") {
		t.Error("another server or role is the same login")
	}
	same := &File{AutoAuth: &AutoAuth{Method: Method{Type: "jwt"}}}
	before := same.Login()
	same.AutoAuth.Sinks = []Sink{{Type: "file"}}
	if same.Login() != before {
		t.Error("a sink makes another login")
	}
}
