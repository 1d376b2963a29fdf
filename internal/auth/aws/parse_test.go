package aws

import (
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"latchkey/internal/cred"
)

func TestElements(t *testing.T) {
	for name, tc := range map[string]struct{ doc, want string }{
		"plain":                {"<A><B>x</B></A>", "x"},
		"white space":          {"<A>\n <B>\n  x </B></A>", "x"},
		"a longer name before": {"<A><Bc>no</Bc><B>x</B></A>", "x"},
		"attributes":           {`<A><B xmlns="y">x</B></A>`, "x"},
		"entities":             {"<B>&lt;&amp;&gt;&quot;&apos;&#65;&#x42;</B>", `<&>"'AB`},
		"no entities":          {"<B>&nothing; & &#xffffffff;</B>", "&nothing; & &#xffffffff;"},
		"empty":                {"<A><B/></A>", ""},
		"nested":               {"<B><C>x</C></B>", ""},
		"not closed":           {"<B>x", ""},
		"not there":            {"<A>x</A>", ""},
		"nothing":              {"", ""},
		"a tag cut off":        {"<B", ""},
	} {
		if got := text(tc.doc, "B"); got != tc.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Where encoding/xml reads an answer of AWS's form, this reads the same.
func FuzzElement(f *testing.F) {
	for _, s := range []string{"x", "a&b", "<>\"'", "é\u2028", " x ", "]]>", "\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		type result struct {
			Value string `xml:"Result>Value"`
		}
		var b strings.Builder
		_ = xml.EscapeText(&b, []byte(value))
		doc := "<R><Result>\n <Other>o</Other><Value>" + b.String() + "</Value></Result></R>"
		var want result
		if xml.Unmarshal([]byte(doc), &want) != nil {
			t.Skip("not text for XML")
		}
		inner, ok := element(doc, "Result")
		if got := text(inner, "Value"); !ok || got != strings.TrimSpace(want.Value) {
			t.Errorf("%q, and encoding/xml reads %q", got, want.Value)
		}
		_, _ = element(value, "Value") // whatever comes
		_ = unescape(value)
		_, _ = complaint([]byte(value))
	})
}

func TestComplaints(t *testing.T) {
	for _, tc := range []struct{ body, code, message string }{
		{"<ErrorResponse><Error><Type>Sender</Type><Code>C</Code><Message>M &amp; m</Message></Error></ErrorResponse>", "C", "M & m"},
		{`{"code":"C","message":"M"}`, "C", "M"},
		{`{"Code":"C"}`, "C", ""},
		{`{"code":`, "", ""},
		{"<html><body>Code</body></html>", "", ""},
		{"canary", "", ""},
	} {
		if code, message := complaint([]byte(tc.body)); code != tc.code || message != tc.message {
			t.Errorf("%s: %q %q", tc.body, code, message)
		}
	}
}

func TestINI(t *testing.T) {
	got := parseINI("stray = 1\n[a]\nK = v # c\n k2 = nested\n\tk3 = nested\nurl = http://x/#y;z\n; comment\n[b c]\n[a]\nk=w\nempty =\n[broken\nlost = 1\n[]\nlost = 2\n")
	want := sections{"a": {"k": "w", "url": "http://x/#y;z", "empty": ""}, "b c": {}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func FuzzINI(f *testing.F) {
	f.Add("[default]\naws_access_key_id = a ; b\n")
	f.Fuzz(func(t *testing.T, text string) {
		for name, keys := range parseINI(text) {
			if name == "" || name != strings.TrimSpace(name) {
				t.Errorf("section %q", name)
			}
			for k, v := range keys {
				if k != strings.ToLower(strings.TrimSpace(k)) || v != strings.TrimSpace(v) || strings.ContainsAny(v, "\n") {
					t.Errorf("%q = %q", k, v)
				}
			}
		}
	})
}

func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(`{"Code":"Success","AccessKeyId":"a","SecretAccessKey":"s","Token":"t","Expiration":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"Code":"Failed","Message":"m"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if c, err := fromJSON(body, "test"); err == nil && !c.HasKeys() {
			t.Errorf("no keys and no error: %s", body)
		}
	})
}

func TestATokenForContainersGoesNowhereElse(t *testing.T) {
	for to, good := range map[string]bool{
		"http://127.0.0.1:9001/2021-04-23/credentials": true, "http://localhost/x": true, "http://[::1]/x": true, "http://169.254.170.2/v2": true,
		"http://169.254.170.23/v1": true, "http://[fd00:ec2::23]/v1": true, "https://example.com/x": true,
		"http://example.com/x": false, "http://169.254.169.254/": false, "http://127.0.0.1.example.com/": false, "ftp://127.0.0.1/": false, "": false, "/x": false, "::": false,
	} {
		if err := nearby(to); (err == nil) != good {
			t.Errorf("%s: %v", to, err)
		}
	}
	for name, c := range map[string]*container{
		"a line break":        {to: "http://127.0.0.1:1/", token: cred.Redact("canary\r\nX: y"), http: direct(nil)},
		"a file that is gone": {to: "http://127.0.0.1:1/", tokenFile: "/nowhere/canary-file", http: direct(nil)},
	} {
		if _, err := c.Retrieve(t.Context()); err == nil || strings.Contains(err.Error(), "X: y") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An answer that sends us elsewhere would have us show our keys there.
func TestRedirectsAreNotFollowed(t *testing.T) {
	asked := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer other.Close()
	s := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	c := &container{to: s.URL, token: cred.Redact("canary"), http: direct(nil)}
	if _, err := c.Retrieve(t.Context()); err == nil || asked || !strings.Contains(err.Error(), "307") {
		t.Errorf("got %v, asked elsewhere: %v", err, asked)
	}
}

// A service that shows what it was sent, in its refusal, shows a token.
func TestWhatAnEndpointRepeatsOfItsTokenIsNotTold(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			_, _ = w.Write([]byte("canary"))
			return
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"Code":"Denied","Message":"not with ` + r.Header.Get("Authorization") + r.Header.Get("X-Aws-Ec2-Metadata-Token") + `"}`))
	}))
	defer s.Close()
	for name, c := range map[string]Credentials{
		"container": &container{to: s.URL, token: cred.Redact("canary"), http: direct(nil)},
		"instance":  imds{base: s.URL, http: direct(nil)},
	} {
		if _, err := c.Retrieve(t.Context()); err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "not with") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
