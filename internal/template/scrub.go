package template

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const redacted = "[redacted]"

// lazy compiles an expression when it is first needed: most runs need none.
func lazy(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// execError is how text/template words an error, with and without the
// library's prefix: where, the expression as the text has it, and the cause.
var execError = lazy(`(?s)^(?:execute: )?template: :(\d+):(\d+): executing "(?:[^"\\]|\\.)*" at <(.*?)>: (.*)$`)

var missingKey = lazy(`no entry for key "((?:[^"\\]|\\.)*)"`)

// explain turns the error of an evaluation into one that may be shown: place
// and expression are the template's own words; the cause is scrubbed, because
// functions quote what they were given.
func (p *pass) explain(err error) error {
	text := p.job.t.text
	m := execError().FindStringSubmatch(err.Error())
	if m == nil {
		return fmt.Errorf("%w: %s", ErrRender, p.scrub(err.Error()))
	}
	line, expr, cause := m[1], m[3], m[4]
	if k := missingKey().FindStringSubmatch(cause); k != nil {
		key := k[1]
		if !strings.Contains(text.contents, key) {
			key = redacted
		}
		lineNo, _ := strconv.Atoi(line)
		col, _ := strconv.Atoi(m[2])
		where := ""
		if req, ok := text.secretAt(lineNo, col); ok {
			where = " in " + describe(req)
		} else if len(p.used) == 1 {
			for _, req := range p.used {
				where = " in " + describe(req)
			}
		}
		return fmt.Errorf("%w: line %s: <%s>: no %q%s", ErrMissing, line, expr, key, where)
	}
	return fmt.Errorf("%w: line %s: <%s>: %s", ErrRender, line, expr, p.scrub(cause))
}

var (
	quoted = lazy("(?s)\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`|(?:^|[\\s:(\\[=])'[^']*'")
	word   = lazy("[^\\s\"'`,;:()<>\\[\\]{}=]+")
)

// scrub removes what may be secret from a message, in three sieves: the values
// that the template saw, longest first; every quotation that is not in the
// text of the template; every word that is a piece of a value, for a function
// may have been given a part of a secret, or a secret decoded.
func (p *pass) scrub(msg string) string {
	// A program's output follows its error.
	msg, _, _ = strings.Cut(msg, "\n\nstdout:")
	contents := p.job.t.text.contents
	values := p.values()
	for _, v := range values {
		if len(v) >= 4 {
			msg = strings.ReplaceAll(msg, v, redacted)
		}
	}
	msg = quoted().ReplaceAllStringFunc(msg, func(q string) string {
		inner := strings.Trim(q, "\"`' \t\n:([=")
		if inner == "" || inner == redacted || strings.Contains(contents, inner) {
			return q
		}
		lead := q[:strings.IndexAny(q, "\"`'")]
		return lead + redacted
	})
	// What these are followed by is a value as it is, or a text that was made
	// of one in a way that no sieve knows.
	for _, before := range []string{"range can't iterate over ", "non-comparable types ", "non-comparable type ", "error calling sprig_fail: "} {
		if cut, after, found := strings.Cut(msg, before); found && !strings.Contains(contents, after) {
			msg = cut + before + redacted
		}
	}
	return word().ReplaceAllStringFunc(msg, func(w string) string {
		if w == "redacted" || strings.Contains(contents, w) {
			return w
		}
		low := strings.ToLower(w)
		for _, v := range values {
			if len(w) >= 2 && v == w || len(w) >= 4 && strings.Contains(strings.ToLower(v), low) {
				return redacted
			}
		}
		return w
	})
}

// values returns every text that the template may have seen, and the usual
// decodings of it, longest first.
func (p *pass) values() []string {
	var all []string
	add := func(s string) {
		if s != "" {
			all = append(all, s)
		}
	}
	for key := range p.used {
		if s := p.run.answers[key].Secret; s != nil {
			leaves(reflect.ValueOf(payload(s)), add)
			if meta, ok := s.Data["metadata"].(map[string]any); ok {
				leaves(reflect.ValueOf(meta["custom_metadata"]), add)
			}
			if s.Auth != nil {
				add(s.Auth.Value.Reveal())
			}
			if s.Wrap != nil {
				add(s.Wrap.Token.Reveal())
			}
		}
	}
	for _, req := range p.job.want {
		leaves(reflect.ValueOf(req.Body), add)
	}
	for _, data := range p.run.seen {
		leaves(reflect.ValueOf(data), add)
	}
	for _, s := range p.noted {
		add(s)
	}
	for _, s := range all {
		for _, d := range decodings(s) {
			add(d)
		}
	}
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	return slices.Compact(all)
}

func decodings(s string) []string {
	var out []string
	trimmed := strings.TrimSpace(s)
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := enc.DecodeString(trimmed); err == nil {
			out = append(out, string(b))
		}
	}
	if b, err := hex.DecodeString(trimmed); err == nil {
		out = append(out, string(b))
	}
	var v any
	if json.Unmarshal([]byte(s), &v) == nil {
		leaves(reflect.ValueOf(v), func(s string) { out = append(out, s) })
	}
	// As fmt and JSON would show it.
	for _, q := range []string{strconv.Quote(s), strconv.QuoteToASCII(s)} {
		out = append(out, q[1:len(q)-1])
	}
	out = append(out, base64.StdEncoding.EncodeToString([]byte(s)), base64.URLEncoding.EncodeToString([]byte(s)),
		hex.EncodeToString([]byte(s)), url.QueryEscape(s), url.PathEscape(s))
	return append(out, trimmed)
}

// leaves visits every string and number below v.
func leaves(v reflect.Value, visit func(string)) {
	switch v.Kind() {
	case reflect.String:
		visit(v.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		visit(strconv.FormatInt(v.Int(), 10))
	case reflect.Float32, reflect.Float64:
		visit(strconv.FormatFloat(v.Float(), 'g', -1, 64))
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			leaves(v.Elem(), visit)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			leaves(it.Value(), visit)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			leaves(v.Index(i), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			leaves(v.Field(i), visit)
		}
	}
}
