package template

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// keys is a Consul whose key app/port has a value that changes.
type keys struct {
	*fakeRemote
	value  atomic.Value
	status atomic.Int64
	asked  atomic.Int64
}

func newKeys(t *testing.T) *keys {
	k := &keys{fakeRemote: newFakeRemote(t)}
	k.value.Store("1")
	k.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/v1/kv/app/port" {
			return false
		}
		k.asked.Add(1)
		if code := k.status.Load(); code != 0 {
			http.Error(w, "no", int(code))
			return true
		}
		w.Header().Set("X-Consul-Index", "7")
		fmt.Fprintf(w, `[{"Key":"app/port","Value":%q}]`, base64.StdEncoding.EncodeToString([]byte(k.value.Load().(string))))
		return true
	}
	return k
}

// The real clock and a real server: the questions are put by hand.
func TestConsulIsAskedAgainAndOnlyItsTemplatesRender(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	k, dir, src, log := newKeys(t), t.TempDir(), newSource(), &logged{}
	src.set("kv/a", "1")
	specs := []Spec{
		spec(dir, "a", `{{ key "app/port" }} `+of("kv/a")), spec(dir, "b", `{{ key "app/port" }}{{ keyOrDefault "app/port" "d" }}`), spec(dir, "c", of("kv/a")),
	}
	w := mustNew(t, Options{Env: k.env(), Log: log.logger()}, specs...).Watch(src, WatchOptions{})
	src.changed = w.Changed
	render := func() {
		t.Helper()
		w.mu.Lock()
		at := now()
		due := w.due(at)
		var rounds []*round
		for _, company := range due {
			rounds = append(rounds, w.newRound(t.Context(), company))
		}
		w.mu.Unlock()
		for _, r := range rounds {
			r.run(t.Context())
		}
	}
	askAll := func() {
		for _, q := range w.queries {
			w.ask(t.Context(), q)
		}
	}
	for _, st := range w.templates {
		st.changeAt = now()
	}
	render()
	if got := read(t, filepath.Join(dir, "a")); got != "1 1" {
		t.Fatalf("holds %q", got)
	}
	asked := k.asked.Load()
	src.set("kv/a", "2")
	render()
	if got := read(t, filepath.Join(dir, "a")); got != "1 2" || k.asked.Load() != asked {
		t.Errorf("holds %q, asked %d times", got, k.asked.Load()-asked)
	}
	if rep := w.report(); len(rep.Templates) != 5 || !rep.Complete {
		t.Errorf("%d reports", len(rep.Templates))
	}
	askAll()
	if rep := len(w.due(now())); rep != 0 {
		t.Errorf("%d rounds are due although nothing changed", rep)
	}
	k.value.Store("22")
	askAll()
	render()
	if a, b := read(t, filepath.Join(dir, "a")), read(t, filepath.Join(dir, "b")); a != "22 2" || b != "2222" {
		t.Errorf("hold %q and %q", a, b)
	}
	if rep := w.report(); len(rep.Templates) != 2 {
		t.Errorf("%d were rendered", len(rep.Templates))
	}
	// An outage, and a key that is gone, leave the last answer.
	for _, code := range []int{http.StatusForbidden, http.StatusNotFound} {
		k.status.Store(int64(code))
		askAll()
		src.set("kv/a", fmt.Sprint(code))
		render()
		if got := read(t, filepath.Join(dir, "a")); got != fmt.Sprint("22 ", code) {
			t.Errorf("holds %q", got)
		}
	}
	if n := strings.Count(log.text(), "no new answer"); n == 0 {
		t.Error("nothing is told of it")
	}
	for _, q := range w.queries {
		if q.busy || q.at.Before(now().Add(askEvery*8/10)) {
			t.Errorf("asked again at %v", q.at)
		}
	}
	w.remote.clients.Stop()
	k.CloseClientConnections()
	k.Close()
	goleak.VerifyNone(t, ignore)
}

func TestAConsulThatNeverAnswersHoldsOneGoroutineForEachQuestion(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	k, dir := newKeys(t), t.TempDir()
	release := make(chan struct{})
	k.hook = func(http.ResponseWriter, *http.Request) bool { k.asked.Add(1); <-release; return true }
	w := mustNew(t, Options{Env: k.env()}, spec(dir, "a", `{{ key "app/port" }}`)).Watch(newSource(), WatchOptions{})
	w.remote.timeout = time.Millisecond
	for i := range 20 {
		w.mu.Lock()
		r := w.newRound(t.Context(), w.templates)
		w.mu.Unlock()
		r.run(t.Context())
		if s := w.Status()[0]; s.Failures != i+1 || s.Err == nil {
			t.Fatalf("status %+v", s)
		}
	}
	if n := k.asked.Load(); n > 1 {
		t.Errorf("asked %d times", n)
	}
	close(release)
	k.CloseClientConnections()
	k.Close()
	goleak.VerifyNone(t, ignore)
}
