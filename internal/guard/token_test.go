package guard

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
)

// put writes a file with a modification time that a program would have seen.
func put(t *testing.T, path, text string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestATokenInAFileMayBeReplacedWhileRequestsCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "token")
		token := File(path)
		is := func(want string) {
			t.Helper()
			got, err := token()
			if err != nil || !got.Equal(cred.Redact(want)) {
				t.Errorf("not %q: %v", want, err)
			}
		}
		isNot := func(has string) {
			t.Helper()
			if got, err := token(); err == nil || !got.Empty() || !strings.Contains(err.Error(), has) {
				t.Errorf("%v", err)
			}
		}
		isNot("no such file")
		long := time.Now().Add(-time.Hour)
		put(t, path, "  first\n", long)
		isNot("no such file") // looked at a moment ago
		time.Sleep(lookEvery)
		is("first")

		put(t, path, "second", long.Add(time.Second))
		time.Sleep(lookEvery)
		is("second")

		// Written twice within what the file system can tell apart.
		put(t, path, "third!", time.Now())
		time.Sleep(lookEvery)
		is("third!")
		put(t, path, "fourth", time.Now().Add(-lookEvery))
		time.Sleep(lookEvery)
		is("fourth")

		put(t, path, "\n", time.Now())
		time.Sleep(lookEvery)
		isNot("is empty")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookEvery)
		isNot("no such file")
		put(t, path, strings.Repeat("x", maxToken+1), long)
		time.Sleep(lookEvery)
		isNot("too large")
		put(t, path, "back", long)
		time.Sleep(lookEvery)
		is("back")

		// Replaced by renaming, with the same time and size.
		put(t, path+".new", "kcab", long)
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookEvery)
		is("kcab")
	})
}

func TestATokenIsReadByManyAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "k", time.Now())
	h, err := Handler(&inside{}, Options{Token: File(path), RequireHeader: true})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if code, text := refused(t, h, ask("GET", "/v1/x", Header+": k")); code != 412 {
					t.Error(code, text)
				}
			}
		})
	}
	all.Wait()
}

// A daemon may itself write the file, so that it is no reason not to start.
func TestATokenThatIsNotThereYetLetsNobodyIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	h, _ := guarded(t, Options{Token: File(path)})
	if code, text := refused(t, h, ask("GET", "/v1/x", Header+": ")); code != 503 || strings.Contains(text, path) {
		t.Errorf("%d %s", code, text)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, ask("GET", "/v1/x"))
	if after := w.Header().Get("Retry-After"); after != "1" {
		t.Errorf("come back after %q", after)
	}
}
