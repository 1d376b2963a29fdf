package cache

import (
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
)

func ask(method, path, query, namespace string, header ...string) *exchange.Ask {
	a := &exchange.Ask{Method: method, Path: path, Query: query, Namespace: namespace, Header: http.Header{}, Who: exchange.Who{Token: cred.Redact("t")}}
	for i := 0; i < len(header); i += 2 {
		a.Header.Add(header[i], header[i+1])
	}
	return a
}

func TestSpellingsOfOneRequestShareAKey(t *testing.T) {
	type pair struct{ a, b *exchange.Ask }
	for name, p := range map[string]pair{
		"order of the query":        {ask("GET", "/v1/s/a", "version=1&x=2", ""), ask("GET", "/v1/s/a", "x=2&version=1", "")},
		"escapes in the query":      {ask("GET", "/v1/s/a", "x=a%20b&%79=1", ""), ask("GET", "/v1/s/a", "y=1&x=a+b", "")},
		"empty parts of the query":  {ask("GET", "/v1/s/a", "x=1&&y", ""), ask("GET", "/v1/s/a", "y=&x=1&", "")},
		"namespace in the path":     {ask("GET", "/v1/team/s/a", "", ""), ask("GET", "/v1/s/a", "", "team/")},
		"namespace in both":         {ask("GET", "/v1/b/s/a", "", "a/"), ask("GET", "/v1/s/a", "", "a/b/")},
		"the root namespace's name": {ask("GET", "/v1/s/a", "", ""), ask("GET", "/v1/s/a", "", "root/")},
		"slashes of a namespace":    {ask("GET", "/v1/s/a", "", "team/"), ask("GET", "/v1/s/a", "", "/team")},
		"escapes that need not be":  {ask("GET", "/v1/s/%61%2Db", "", ""), ask("GET", "/v1/s/a-b", "", "")},
		"digits of escapes":         {ask("GET", "/v1/s/a%c3%a4", "", ""), ask("GET", "/v1/s/a%C3%A4", "", "")},
		"tracing":                   {ask("GET", "/v1/s/a", "", "", "Traceparent", "1", "X-B3-Traceid", "2", "X-Amzn-Trace-Id", "3"), ask("GET", "/v1/s/a", "", "")},
		"who sends it":              {ask("GET", "/v1/s/a", "", "", "User-Agent", "vault", "Accept", "*/*", "X-Forwarded-For", "::1"), ask("GET", "/v1/s/a", "", "")},
		"the server's own, neutral": {
			ask("GET", "/v1/s/a", "", "", "X-Vault-Token", "t", "X-Vault-Request", "true", "X-Vault-Namespace", "", "X-Vault-Forward", "active-node", "X-Vault-Inconsistent", "forward-active-node", "X-Vault-No-Request-Forwarding", "1"),
			ask("GET", "/v1/s/a", "", ""),
		},
		"a wish to use the cache":    {ask("GET", "/v1/s/a", "", "", "X-Vault-Cache-Control", "cache"), ask("GET", "/v1/s/a", "", "")},
		"a token in another header":  {ask("GET", "/v1/s/a", "", "", "Authorization", "Bearer t"), ask("GET", "/v1/s/a", "", "", "X-Vault-Token", "t")},
		"a type where there is none": {ask("GET", "/v1/s/a", "", "", "Content-Type", "application/json"), ask("GET", "/v1/s/a", "", "")},
	} {
		a, howA, _ := keyOf(p.a, nil)
		b, howB, _ := keyOf(p.b, nil)
		if a != b || howA != usual || howB != usual {
			t.Errorf("%s: %v and %v, course %d and %d", name, a, b, howA, howB)
		}
	}
}

func TestDifferentRequestsShareNoKey(t *testing.T) {
	with := func(change func(*exchange.Ask)) *exchange.Ask {
		a := ask("GET", "/v1/s/a", "", "")
		change(a)
		return a
	}
	asks := map[string]*exchange.Ask{
		"plain":             ask("GET", "/v1/s/a", "", ""),
		"method":            ask("LIST", "/v1/s/a", "", ""),
		"put":               ask("PUT", "/v1/s/a", "", ""),
		"path":              ask("GET", "/v1/s/b", "", ""),
		"slash at the end":  ask("GET", "/v1/s/a/", "", ""),
		"escaped percent":   ask("GET", "/v1/s/a%2561", "", ""),
		"namespace":         ask("GET", "/v1/s/a", "", "n/"),
		"query":             ask("GET", "/v1/s/a", "version=1", ""),
		"query of a value":  ask("GET", "/v1/s/a", "version=2", ""),
		"two of a name":     ask("GET", "/v1/s/a", "x=1&x=2", ""),
		"two the other way": ask("GET", "/v1/s/a", "x=2&x=1", ""),
		"in one":            ask("GET", "/v1/s/a", "x=1%26x=2", ""),
		"body":              with(func(a *exchange.Ask) { a.Body = []byte("{}") }),
		"body with a type": with(func(a *exchange.Ask) {
			a.Body = []byte("{}")
			a.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}),
		"other token":        with(func(a *exchange.Ask) { a.Who.Token = cred.Redact("u") }),
		"nobody":             with(func(a *exchange.Ask) { a.Who.Token = cred.Redacted{} }),
		"lent":               with(func(a *exchange.Ask) { a.Who = exchange.Who{Lent: "t"} }),
		"lent to another":    with(func(a *exchange.Ask) { a.Who = exchange.Who{Lent: "u"} }),
		"header of theirs":   ask("GET", "/v1/s/a", "", "", "X-Vault-Policy-Override", "true"),
		"its value":          ask("GET", "/v1/s/a", "", "", "X-Vault-Policy-Override", "false"),
		"another of theirs":  ask("GET", "/v1/s/a", "", "", "X-Vault-Something-New", "true"),
		"configured header":  ask("GET", "/v1/s/a", "", "", "X-Team", "a"),
		"another value":      ask("GET", "/v1/s/a", "", "", "X-Team", "b"),
		"two values":         ask("GET", "/v1/s/a", "", "", "X-Team", "a", "X-Team", "b"),
		"two configured":     ask("GET", "/v1/s/a", "", "", "X-Team", "a", "X-Zone", "b"),
		"the other of these": ask("GET", "/v1/s/a", "", "", "X-Zone", "a"),
	}
	seen := map[Key]string{}
	for name, a := range asks {
		k, how, _ := keyOf(a, []string{"X-Team", "X-Zone"})
		if how != usual {
			t.Errorf("%s: course %d", name, how)
		}
		if other := seen[k]; other != "" {
			t.Errorf("%q and %q share a key", name, other)
		}
		seen[k] = name
	}
}

func TestTheCourseOfARequest(t *testing.T) {
	for name, c := range map[string]struct {
		a    *exchange.Ask
		want course
	}{
		"wrapped":              {ask("GET", "/v1/s/a", "", "", "X-Vault-Wrap-TTL", "60s"), alone},
		"mfa":                  {ask("GET", "/v1/s/a", "", "", "X-Vault-MFA", "x:1"), alone},
		"basic":                {ask("GET", "/v1/s/a", "", "", "Authorization", "Basic x"), alone},
		"conditional":          {ask("GET", "/v1/s/a", "", "", "If-Modified-Since", "x"), alone},
		"range":                {ask("GET", "/v1/s/a", "", "", "Range", "bytes=0-1"), alone},
		"no path of theirs":    {ask("GET", "/ui/s/a", "", ""), alone},
		"nothing":              {ask("GET", "/v1/", "", ""), alone},
		"double slash":         {ask("GET", "/v1/s//a", "", ""), alone},
		"dots":                 {ask("GET", "/v1/s/../a", "", ""), alone},
		"escaped dots":         {ask("GET", "/v1/s/%2e%2E/a", "", ""), alone},
		"dot":                  {ask("GET", "/v1/s/.", "", ""), alone},
		"escaped slash":        {ask("GET", "/v1/s/a%2fb", "", ""), alone},
		"half an escape":       {ask("GET", "/v1/s/a%2", "", ""), alone},
		"dots in a namespace":  {ask("GET", "/v1/s/a", "", "a/../b/"), alone},
		"endless namespace":    {ask("GET", "/v1/s/a", "", strings.Repeat("n/", 4096)), alone},
		"strange query":        {ask("GET", "/v1/s/a", "a=%zz", ""), alone},
		"semicolon":            {ask("GET", "/v1/s/a", "a=1;b=2", ""), alone},
		"system":               {ask("GET", "/v1/sys/mounts", "", ""), alone},
		"system of a team":     {ask("GET", "/v1/sys/mounts", "", "team/"), alone},
		"unwrapping by a team": {ask("PUT", "/v1/team/sys/wrapping/unwrap", "", ""), alone},
		"not the system":       {ask("GET", "/v1/systems/a", "", ""), usual},
		"state":                {ask("GET", "/v1/s/a", "", "", "X-Vault-Index", "v1:x"), newest},
		"nocache":              {ask("GET", "/v1/s/a", "", "", "X-Vault-Cache-Control", "nocache"), alone},
		"recache":              {ask("GET", "/v1/s/a", "", "", "X-Vault-Cache-Control", "recache"), fill},
		"cache":                {ask("GET", "/v1/s/a", "", "", "X-Vault-Cache-Control", "cache"), usual},
		"both":                 {ask("GET", "/v1/s/a", "", "", "X-Vault-Cache-Control", " cache , ReCache "), fill},
		"all":                  {ask("GET", "/v1/s/a", "", "", "X-Vault-Cache-Control", "recache,cache", "X-Vault-Cache-Control", "x, nocache"), alone},
		"unknown":              {ask("GET", "/v1/s/a", "", "", "X-Vault-Cache-Control", "max-age=0"), usual},
		"state, and no cache":  {ask("GET", "/v1/s/a", "", "", "X-Vault-Cache-Control", "nocache", "X-Vault-Index", "v1:x"), alone},
	} {
		if _, got, _ := keyOf(c.a, nil); got != c.want {
			t.Errorf("%s: course %d, want %d", name, got, c.want)
		}
	}
}

// meaning is what the server could see of a request, computed in another way than
// the key.
func meaning(a *exchange.Ask) any {
	path, err := url.PathUnescape(strings.TrimPrefix(a.Path, "/v1/"))
	if err != nil {
		return nil
	}
	ns := strings.Trim(a.Namespace, "/ ")
	if ns == "root" {
		ns = ""
	}
	if ns != "" {
		path = ns + "/" + path
	}
	query, err := url.ParseQuery(a.Query)
	if err != nil {
		return nil
	}
	var others []string
	for name, values := range a.Header {
		if strings.HasPrefix(name, "X-Vault-New") || name == "X-Team" {
			others = append(others, name)
			others = append(others, values...)
			others = append(others, "")
		}
	}
	slices.Sort(others)
	return []any{a.Method, path, query, string(a.Body), a.Who.Lent, a.Who.Token.Reveal(), others}
}

// Whatever two requests look like: one key means one request.
func FuzzKey(f *testing.F) {
	f.Add("GET", "s/a", "x=1", "", "", "t", "", "1", "GET", "s/a", "x=1", "", "", "t", "", "1")
	f.Add("GET", "s/a", "x=1&y=2", "n/", "", "t", "l", "1", "GET", "n/s/a", "y=2&x=1", "", "", "t", "", "2")
	f.Add("GETs", "a%2e", "x=%31", "a", "b", "", "t", "", "GET", "sa.", "x=1", "", "ab", "t", "", "")
	f.Fuzz(func(t *testing.T, m1, p1, q1, n1, b1, t1, l1, h1, m2, p2, q2, n2, b2, t2, l2, h2 string) {
		make := func(m, p, q, n, b, tok, lent, h string) *exchange.Ask {
			a := &exchange.Ask{Method: m, Path: "/v1/" + p, Query: q, Namespace: n, Body: []byte(b), Header: http.Header{}}
			if a.Who.Lent = lent; lent == "" {
				a.Who.Token = cred.Redact(tok)
			}
			if h != "" {
				a.Header["X-Vault-New"+h[:1]] = []string{h}
				a.Header["X-Team"] = []string{h[1:]}
			}
			return a
		}
		a, b := make(m1, p1, q1, n1, b1, t1, l1, h1), make(m2, p2, q2, n2, b2, t2, l2, h2)
		ka, howA, _ := keyOf(a, []string{"X-Team"})
		kb, howB, _ := keyOf(b, []string{"X-Team"})
		if howA == alone || howB == alone {
			return
		}
		x, y := meaning(a), meaning(b)
		if x == nil || y == nil {
			t.Fatalf("a request that nobody can read has a key: %+v %+v", a, b)
		}
		if ka == kb && !reflect.DeepEqual(x, y) {
			t.Fatalf("one key for\n%v and\n%v", x, y)
		}
		// The reverse of a query's order is the same question, where no name is twice.
		parts := strings.Split(a.Query, "&")
		if values, err := url.ParseQuery(a.Query); err == nil && len(values) == len(parts) {
			slices.Reverse(parts)
			a.Query = strings.Join(parts, "&")
			if k, how, _ := keyOf(a, []string{"X-Team"}); k != ka || how != howA {
				t.Fatalf("the order of %q counts", a.Query)
			}
		}
	})
}
