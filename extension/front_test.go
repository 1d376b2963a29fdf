package extension

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// slow answers when the request's time is over, and says why it was.
func slow(why *error) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		*why = context.Cause(r.Context())
	})
}

func ask(f *front, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestARequestEndsBeforeItsInvocationDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var why error
		f := &front{gate: newGate(), api: slow(&why)}
		f.open()
		began := time.Now()
		f.until.Store(began.Add(3 * time.Second).UnixMilli())
		ask(f, "/v1/secret")
		if took := time.Since(began); took != 3*time.Second-margin || !errors.Is(why, errOver) {
			t.Errorf("it ended after %v: %v", took, why)
		}
	})
}

// The function and we hear of an invocation at the same time, and its request may be
// here first: the end of the last invocation is not its end.
func TestARequestThatIsHereBeforeItsInvocationHasTheTimeOfThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, lag := range []time.Duration{50 * time.Millisecond, -time.Hour} {
			var why error
			f := &front{gate: newGate(), api: slow(&why)}
			f.open()
			began := time.Now()
			f.until.Store(began.Add(margin + lag).UnixMilli())
			go func() {
				time.Sleep(5 * time.Millisecond)
				f.until.Store(began.Add(3 * time.Second).UnixMilli())
			}()
			ask(f, "/v1/secret")
			if took := time.Since(began); took != 3*time.Second-margin {
				t.Errorf("with an end that was %v away it ended after %v: %v", lag, took, why)
			}
		}
	})
}

func TestRequestsWaitUntilAllIsInPlaceAndNotForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &front{gate: newGate(), api: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })}
		began := time.Now()
		if w := ask(f, "/v1/secret"); w.Code != 503 || w.Header().Get("Retry-After") == "" || time.Since(began) != patience {
			t.Errorf("%d after %v", w.Code, time.Since(began))
		}
		go func() { time.Sleep(time.Second); f.open() }()
		began = time.Now()
		if w := ask(f, "/v1/secret"); w.Code != 204 || time.Since(began) != time.Second {
			t.Errorf("%d after %v", w.Code, time.Since(began))
		}
		if w := ask(f, "/ui/"); w.Code != 404 {
			t.Errorf("%d", w.Code)
		}
	})
}
