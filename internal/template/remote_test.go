package template

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	dep "github.com/hashicorp/consul-template/dependency"
	ct "github.com/hashicorp/consul-template/template"

	"latchkey/internal/retry"
)

// fakeRemote answers for Consul and Nomad alike: their paths do not meet.
type fakeRemote struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	hook  func(w http.ResponseWriter, r *http.Request) bool
}

func newFakeRemote(t *testing.T) *fakeRemote {
	f := &fakeRemote{}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeRemote) env() []string {
	return []string{
		"CONSUL_HTTP_ADDR=" + f.URL, "CONSUL_HTTP_TOKEN=consul-token",
		"NOMAD_ADDR=" + f.URL, "NOMAD_TOKEN=nomad-token", "NOMAD_NAMESPACE=team",
	}
}

func (f *fakeRemote) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked = append(f.asked, r.URL.Path+" "+r.Header.Get("X-Consul-Token")+r.Header.Get("X-Nomad-Token"))
	f.mu.Unlock()
	if f.hook != nil && f.hook(w, r) {
		return
	}
	w.Header().Set("X-Consul-Index", "7")
	w.Header().Set("X-Nomad-Index", "7")
	kv := func(key, value string) string {
		return fmt.Sprintf(`{"Key":%q,"Value":%q}`, key, base64.StdEncoding.EncodeToString([]byte(value)))
	}
	switch r.URL.Path {
	case "/v1/kv/app/port":
		fmt.Fprintf(w, "[%s]", kv("app/port", "8080"))
	case "/v1/kv/app/secret":
		fmt.Fprintf(w, "[%s]", kv("app/secret", canary))
	case "/v1/kv/app", "/v1/kv/app/":
		fmt.Fprintf(w, "[%s,%s]", kv("app/a", "1"), kv("app/b", "2"))
	case "/v1/kv/empty", "/v1/kv/empty/":
		fmt.Fprint(w, "[]")
	case "/v1/health/service/web":
		fmt.Fprint(w, `[{"Node":{"Node":"n1","Address":"10.0.0.1"},"Service":{"Service":"web","Address":"10.0.0.2","Port":80},"Checks":[{"Status":"passing"}]}]`)
	case "/v1/var/app/cfg":
		fmt.Fprintf(w, `{"Namespace":%q,"Path":"app/cfg","Items":{"user":"n"}}`, r.URL.Query().Get("namespace"))
	default:
		http.Error(w, "none", http.StatusNotFound)
	}
}

func TestConsulAndNomadFunctionsBesideVault(t *testing.T) {
	f, r := newFakeRemote(t), newReader()
	r.secrets["kv/a"] = kv2(map[string]any{"v": "1"})
	dir := t.TempDir()
	set := mustNew(t, Options{Env: f.env()},
		spec(dir, "a", `{{ key "app/port" }} {{ range ls "app" }}{{ .Key }}={{ .Value }} {{ end }}{{ range service "web" }}{{ .Address }}:{{ .Port }}{{ end }} {{ with secret "kv/a" }}{{ .Data.data.v }}{{ end }}`),
		spec(dir, "b", `{{ key "app/port" }} {{ with nomadVar "app/cfg" }}{{ .user }}{{ end }} {{ keyOrDefault "app/none" "d" }} {{ keyExists "app/none" }}`))
	rep, err := set.Render(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir+"/a"); got != "8080 a=1 b=2 10.0.0.2:80 1" {
		t.Errorf("got %q", got)
	}
	if got := read(t, dir+"/b"); got != "8080 n d false" {
		t.Errorf("got %q", got)
	}
	if rep.Passes != 2 || len(r.batches) != 1 {
		t.Errorf("%d passes, %d batches", rep.Passes, len(r.batches))
	}
	asked := map[string]int{}
	for _, a := range f.asked {
		asked[a]++
	}
	if asked["/v1/kv/app/port consul-token"] != 1 || asked["/v1/var/app/cfg nomad-token"] != 1 {
		t.Errorf("asked %v", asked)
	}
}

func TestAConsulKeyThatDoesNotExistIsAnError(t *testing.T) {
	f := newFakeRemote(t)
	for text, says := range map[string]string{
		`{{ key "app/none" }}`:                 "kv.block(app/none): does not exist",
		`{{ range safeLs "empty" }}x{{ end }}`: "empty",
	} {
		_, err := render(t, newReader(), Options{Env: f.env()}, text)
		wantError(t, err, ErrMissing, says, "agent.hcl:1")
	}
}

func TestConsulRefusing(t *testing.T) {
	f := newFakeRemote(t)
	f.hook = func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "ACL not found", http.StatusForbidden)
		return true
	}
	_, err := render(t, newReader(), Options{Env: f.env()}, `{{ key "app/port" }}`)
	wantError(t, err, ErrRender, "kv.block(app/port)", "ACL not found")
	if len(f.asked) != 1 {
		t.Errorf("asked %d times", len(f.asked))
	}
}

func TestAConsulQueryIsTriedAgain(t *testing.T) {
	f := newFakeRemote(t)
	n := 0
	f.hook = func(w http.ResponseWriter, _ *http.Request) bool {
		if n++; n < 3 {
			http.Error(w, "no leader", http.StatusInternalServerError)
			return true
		}
		return false
	}
	remote := newRemote(environment(f.env()))
	remote.schedule = retry.Schedule{Attempts: 3}
	d, err := dep.NewKVGetQuery("app/port")
	if err != nil {
		t.Fatal(err)
	}
	brain := ct.NewBrain()
	failed := remote.fetchAll(t.Context(), map[string]dep.Dependency{d.String(): d}, brain.Remember)
	if v, ok := brain.Recall(d); len(failed) != 0 || !ok || v != "8080" {
		t.Errorf("%v, %v", v, failed)
	}
}

func TestASilentConsulDoesNotOutliveTheRun(t *testing.T) {
	f := newFakeRemote(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the end")
	release := make(chan struct{})
	f.hook = func(_ http.ResponseWriter, r *http.Request) bool {
		cancel(why)
		<-release
		return true
	}
	defer close(release)
	_, err := mustNew(t, Options{Env: f.env()}, spec(t.TempDir(), "x", `{{ key "app/port" }}`)).Render(ctx, newReader())
	wantError(t, err, why, "kv.block(app/port)")
}

func TestASilentConsulIsGivenUpAfterItsTime(t *testing.T) {
	f := newFakeRemote(t)
	release := make(chan struct{})
	f.hook = func(http.ResponseWriter, *http.Request) bool { <-release; return true }
	defer close(release)
	remote := newRemote(environment(f.env()))
	remote.timeout = time.Millisecond
	d, err := dep.NewKVGetQuery("app/port")
	if err != nil {
		t.Fatal(err)
	}
	failed := remote.fetchAll(t.Context(), map[string]dep.Dependency{d.String(): d}, ct.NewBrain().Remember)
	wantError(t, failed[d.String()], context.DeadlineExceeded, "kv.get(app/port)")
}

func TestNoErrorHoldsAValueOfConsul(t *testing.T) {
	f := newFakeRemote(t)
	_, err := render(t, newReader(), Options{Env: f.env()}, `{{ key "app/secret" | sprig_fail }}`)
	wantError(t, err, ErrRender)
	if strings.Contains(err.Error(), canary) {
		t.Error(err)
	}
}

func TestConsulSettingsAreReadFromTheEnvironment(t *testing.T) {
	r := newRemote(environment([]string{
		"CONSUL_HTTP_ADDR=https://c:8501", "CONSUL_HTTP_AUTH=u:p", "CONSUL_HTTP_SSL_VERIFY=false", "NOMAD_SKIP_VERIFY=1", "NOMAD_ADDR=https://n",
	}))
	if c := r.consul(); !c.SSLEnabled || c.SSLVerify || !c.AuthEnabled || c.AuthUsername != "u" || c.AuthPassword != "p" {
		t.Errorf("%+v", c)
	}
	if n := r.nomad(); !n.SSLEnabled || n.SSLVerify {
		t.Errorf("%+v", n)
	}
}

func TestAClientThatCannotBeMadeFailsItsTemplatesOnly(t *testing.T) {
	dir := t.TempDir()
	rep, err := mustNew(t, Options{Env: []string{"CONSUL_HTTP_ADDR=https://c", "CONSUL_CACERT=/nonexistent"}},
		spec(dir, "a", `{{ key "app/port" }}`), spec(dir, "b", `fine`)).Render(t.Context(), newReader())
	wantError(t, err, ErrRender, "/nonexistent")
	if rep.Templates[1].Err != nil {
		t.Error(rep.Templates[1].Err)
	}
}
