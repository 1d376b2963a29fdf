package cache

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func (k *kin) post(method, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "/agent/v1/cache-clear", strings.NewReader(body))
	k.c.ClearHandler().ServeHTTP(w, r)
	return w
}

// The statuses and words were compared with those of the real agent.
func TestCacheClearAnswersAsTheAgentDoes(t *testing.T) {
	for _, tc := range []struct {
		method, body string
		status       int
		words        string
	}{
		{"POST", ``, 400, "failed to parse JSON input: empty JSON provided"},
		{"POST", " \n", 400, "failed to parse JSON input: empty JSON provided"},
		{"POST", `x`, 400, "failed to parse JSON input: invalid character 'x' looking for beginning of value"},
		{"POST", `{"type"`, 400, "failed to parse JSON input: unexpected EOF"},
		{"POST", `[]`, 400, "failed to parse JSON input: not an object"},
		{"POST", `"all"`, 400, "failed to parse JSON input: not an object"},
		{"POST", `{"type":1}`, 400, "failed to parse JSON input: type is not a string"},
		{"POST", `{"type":"token","value":5}`, 400, "failed to parse JSON input: value is not a string"},
		{"POST", `{}`, 400, "failed to parse clear input: no type provided"},
		{"POST", `null`, 400, "failed to parse clear input: no type provided"},
		{"POST", `{"value":"x"}`, 400, "failed to parse clear input: no type provided"},
		{"POST", `{"type":"foo","value":"x"}`, 400, "failed to clear cache: invalid type provided"},
		{"POST", `{"type":"request_path"}`, 500, "failed to clear cache: request path not provided"},
		{"POST", `{"type":"token"}`, 500, "failed to clear cache: token not provided"},
		{"POST", `{"type":"token_accessor"}`, 500, "failed to clear cache: token accessor not provided"},
		{"PUT", `{"type":"lease","value":""}`, 500, "failed to clear cache: lease not provided"},
		{"POST", `{"type":"lease","value":"x"}`, 200, ""},
		{"PUT", `{"type":"token","value":"x","namespace":"foo"}`, 200, ""},
		{"POST", `{"type":"token_accessor","value":"x"}`, 200, ""},
		{"POST", `{"type":"request_path","value":"/v1/nothing"}`, 200, ""},
		{"POST", `{"type":"request_path","value":"nothing"}`, 200, ""},
		{"POST", `{"type":"all"}`, 200, ""},
		{"POST", `{"type":"all","value":"x","more":1} and more`, 200, ""},
		{"GET", ``, 200, ""},
		{"DELETE", `{"type":"all"}`, 200, ""},
		{"HEAD", ``, 200, ""},
		{"POST", `{"type":"` + strings.Repeat("x", maxClear) + `"}`, 413, "the body is too large"},
	} {
		k := newKin(t)
		w := k.post(tc.method, tc.body)
		if len(tc.body) > 100 {
			tc.body = tc.body[:100]
		}
		if w.Code != tc.status {
			t.Errorf("%s %q: %d, want %d", tc.method, tc.body, w.Code, tc.status)
		}
		if tc.words == "" {
			if w.Body.Len() > 0 {
				t.Errorf("%s %q: %s", tc.method, tc.body, w.Body)
			}
			continue
		}
		var got struct{ Errors []string }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || !slices.Equal(got.Errors, []string{tc.words}) {
			t.Errorf("%s %q: %s, want %q", tc.method, tc.body, w.Body, tc.words)
		}
		if ct := w.Header().Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s %q: Content-Type %q", tc.method, tc.body, ct)
		}
	}
}

func TestCacheClearDropsWhatItIsToldTo(t *testing.T) {
	ours := []string{"app", "app2", "child", "child's", "grand", "grand's"}
	for _, tc := range []struct {
		typ, value, ns string
		gone           []string
	}{
		{"all", "", "", everything},
		{"token", "child", "", []string{"child", "child's", "grand", "grand's"}},
		{"token", "ours", "", ours},
		{"token", "alice", "", []string{"alice"}},
		{"token", "chil", "", nil},
		{"token_accessor", "acc-role", "", []string{"role", "role's"}},
		{"token_accessor", "acc-ours", "", ours},
		{"token_accessor", "acc", "", nil},
		{"lease", "db/creds/app/lease1", "", []string{"app"}},
		{"lease", "db/creds/app/lease", "", nil},
		{"lease", "db/creds/app", "", nil},
		{"request_path", "/v1/db/creds/app", "", []string{"app", "app2"}},
		{"request_path", "/v1/db/creds/app2", "root/", []string{"app2"}},
		{"request_path", "/v1/db/creds/ap", "root", []string{"app", "app2"}},
		{"request_path", "v1/db", "/root", []string{"app", "app2", "role's"}},
		{"request_path", "/v1/db", "team/", []string{"alice"}},
		{"request_path", "/v1/db", "/team", []string{"alice"}},
		{"request_path", "/v1/team/db", "", []string{"alice"}},
		{"request_path", "/v1/", "team", []string{"alice"}},
		{"request_path", "/v1/db", "other/", nil},
		{"request_path", "/v1/auth/approle/login", "", []string{"role", "role's"}},
		{"request_path", "/v1/", "", everything},
		{"request_path", "/", "", everything},
		{"request_path", "/v2/", "", nil},
		{"request_path", "/agent", "", nil},
	} {
		t.Run(fmt.Sprint(tc.typ, " ", tc.value, " ", tc.ns), func(t *testing.T) {
			k := household(t)
			body, err := json.Marshal(clearing{tc.typ, tc.value, tc.ns})
			if err != nil {
				t.Fatal(err)
			}
			if w := k.post("POST", string(body)); w.Code != http.StatusOK || w.Body.Len() > 0 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			k.living(except(tc.gone...)...)
			for _, word := range []string{"child\n", "ours", "lease1"} {
				if strings.Contains(k.log.String(), word) {
					t.Errorf("the log shows %q: %s", word, k.log)
				}
			}
			if strings.Contains(k.log.String(), "full") {
				t.Errorf("the log takes it for a lack of room: %s", k.log)
			}
			// Our own token keeps its standing, whatever was cleared.
			k.creds("@default", "ours", "/v1/db/creds/new")
			k.cached(true, "@default", "/v1/db/creds/new")
			k.sound()
		})
	}
}

func TestWhatWasClearedIsNotRenewed(t *testing.T) {
	k := household(t)
	k.post("PUT", `{"type":"all"}`)
	k.kept()
	if names := k.store.names(); len(names) != 1 {
		t.Errorf("there are records of %q", names)
	}
	r := k.restarted()
	if n := r.c.Restore(now()); n != 0 {
		t.Errorf("%d answers came back", n)
	}
}

func TestClearingAllForgetsWhichTokensWereOfNoUse(t *testing.T) {
	k := newKin(t)
	k.ask(by("", "POST", "/v1/auth/x/login", "{}"), "", 200, loginAnswer("limited", 60, true, `,"num_uses":2`))
	k.post("POST", `{"type":"all"}`)
	k.creds("limited", "", app)
	k.cached(true, "limited", app)
}

func FuzzCacheClear(f *testing.F) {
	for _, seed := range []string{`{"type":"all"}`, `{"type":"request_path","value":"/v1/db","namespace":"team"}`, `{"type":`, `[]`, `{"type":"token","value":"child"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		_, status, reason := parseClear(body)
		if (status == http.StatusOK) != (reason == "") {
			t.Fatalf("%d %q", status, reason)
		}
		k := household(t)
		if w := k.post("POST", string(body)); w.Code != status {
			t.Fatalf("%d, want %d", w.Code, status)
		}
		k.sound()
		if status != http.StatusOK {
			k.living(everything...)
		}
	})
}
