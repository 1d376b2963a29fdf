package template

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

func (w *watching) minting() int {
	w.Watch.mu.Lock()
	defer w.Watch.mu.Unlock()
	return len(w.mints)
}

func pkiText(field string) string {
	return `{{ with pkiCert "pki/issue/web" "common_name=a.example" }}{{ .` + field + ` }}{{ end }}`
}

// issuing is a source that issues certificates; at tells when. The source's lock
// is held while one is issued.
func issuing(t *testing.T) (src *fakeSource, at func() []time.Time) {
	src = newSource()
	ca := newAuthority(t)
	ca.life = 10 * time.Hour
	src.issue = func(Request) *cred.Secret {
		src.issued = append(src.issued, time.Now())
		return ca.issue("a.example")
	}
	return src, func() []time.Time {
		src.mu.Lock()
		defer src.mu.Unlock()
		return slices.Clone(src.issued)
	}
}

// oneCertificate fails where the files do not hold one certificate and its key.
func oneCertificate(t *testing.T, files ...string) {
	t.Helper()
	var s pemScan
	for _, f := range files {
		s.scan(read(t, f))
	}
	if len(s.certs) != 1 || len(s.keys) != 1 || s.bundle(s.certs[0]).Key == "" {
		t.Errorf("%d certificates, %d keys, or they do not belong together", len(s.certs), len(s.keys))
	}
}

func TestACertificateIsReplacedAtItsTimeAndNotBefore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		src, issued := issuing(t)
		src.set("kv/a", "1")
		sp := spec(t.TempDir(), "bundle.pem", bundleText+of("kv/a"))
		w := watch(t, src, Options{}, WatchOptions{}, sp)
		at := w.status("bundle.pem")
		life := 10 * time.Hour
		first := at.NextAt.Sub(issued()[0])
		if at.Next != "certificate" || first < life*86/100 || first > life*94/100 {
			t.Fatalf("replaced after %v: %+v", first, at)
		}
		for i := range 10 {
			after(6 * time.Minute)
			src.set("kv/a", fmt.Sprint("n", i)) // rendered again, from its own file
			synctest.Wait()
			if s := w.status("bundle.pem"); !s.NextAt.Equal(at.NextAt) {
				t.Fatalf("the moment moved to %v", s.NextAt)
			}
		}
		if len(issued()) != 1 {
			t.Errorf("issued %d times", len(issued()))
		}
		after(10 * time.Hour)
		if n := len(issued()); n != 2 {
			t.Errorf("issued %d times", n)
		}
		if got := issued()[1].Sub(issued()[0]); got != first {
			t.Errorf("replaced after %v, planned for %v", got, first)
		}
	})
}

func TestCertificateKeyAndCAOfSeveralTemplatesStayTogether(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		src, issued := issuing(t)
		src.set("kv/a", "1")
		specs := []Spec{spec(dir, "cert", pkiText("Cert")), spec(dir, "key", pkiText("Key")+of("kv/a")), spec(dir, "ca", pkiText("CA"))}
		w := watch(t, src, Options{}, WatchOptions{}, specs...)
		cert, key, ca := specs[0].Destination, specs[1].Destination, specs[2].Destination
		oneCertificate(t, cert, key)
		// The key's template renders again by itself, and finds the certificate
		// in the file of the other.
		src.set("kv/a", "2")
		after(time.Second)
		if len(issued()) != 1 {
			t.Errorf("issued %d times", len(issued()))
		}
		oneCertificate(t, cert, key)
		for i, lost := range []string{key, cert} {
			if err := os.Remove(lost); err != nil {
				t.Fatal(err)
			}
			after(5 * time.Second)
			oneCertificate(t, cert, key)
			if len(issued()) != i+2 {
				t.Errorf("issued %d times after %s was lost", len(issued()), lost)
			}
		}
		if !exists(ca) {
			t.Error("no CA")
		}
		n := len(issued())
		after(95 * time.Hour / 10)
		oneCertificate(t, cert, key)
		if len(issued()) != n+1 {
			t.Errorf("issued %d times for three templates", len(issued())-n)
		}
		for _, f := range []string{"cert", "key", "ca"} {
			if s := w.status(f); s.Next != "certificate" || s.Err != nil {
				t.Errorf("%s: %+v", f, s)
			}
		}
		if w.minting() != 0 {
			t.Error("a key is kept in memory")
		}
	})
}

func TestATemplateThatComesLaterGetsTheSameCertificate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		src, issued := issuing(t)
		specs := []Spec{spec(dir, "cert", pkiText("Cert")), spec(dir, "key", of("kv/late")+pkiText("Key"))}
		late := `{{ with secret "kv/late" }}` + pkiText("Key") + `{{ end }}`
		specs[1].Contents = late
		watch(t, src, Options{}, WatchOptions{}, specs...)
		src.set("kv/late", "1")
		after(time.Minute)
		oneCertificate(t, specs[0].Destination, specs[1].Destination)
		if len(issued()) != 2 {
			t.Errorf("issued %d times", len(issued()))
		}
	})
}

func TestAFileThatCannotBeWrittenHasNoOtherCertificateIssued(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		src, issued := issuing(t)
		specs := []Spec{spec(dir, "cert", pkiText("Cert")), spec(dir, "key", pkiText("Key"))}
		if err := os.Mkdir(specs[1].Destination, 0o700); err != nil {
			t.Fatal(err)
		}
		w := watch(t, src, Options{}, WatchOptions{}, specs...)
		after(5 * time.Hour)
		if len(issued()) != 1 || w.status("key").Err == nil {
			t.Errorf("issued %d times", len(issued()))
		}
		if err := os.Remove(specs[1].Destination); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		oneCertificate(t, specs[0].Destination, specs[1].Destination)
		if len(issued()) != 1 || w.minting() != 0 {
			t.Errorf("issued %d times, %d kept", len(issued()), w.minting())
		}
	})
}

func TestACertificateInAVariableIsFoundThere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		src, issued := issuing(t)
		src.set("kv/a", "1")
		sp := spec(t.TempDir(), "", bundleText+of("kv/a"))
		sp.Destination, sp.Variable = "", "TLS"
		w := watch(t, src, Options{}, WatchOptions{}, sp)
		src.set("kv/a", "2")
		after(5 * time.Hour)
		if len(issued()) != 1 || w.status("TLS").Next != "certificate" || len(w.outcomes("TLS")) != 2 {
			t.Errorf("issued %d times", len(issued()))
		}
	})
}

func TestACertificateThatIsSpentAtBirthMakesNoStorm(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		src, issued := issuing(t)
		ca := newAuthority(t)
		ca.life = 10 * time.Hour
		old := ca.issue("a.example")
		src.issue = func(Request) *cred.Secret {
			src.issued = append(src.issued, time.Now())
			return old
		}
		dir := t.TempDir()
		time.Sleep(99 * time.Hour / 10)
		start := time.Now()
		watch(t, src, Options{}, WatchOptions{}, spec(dir, "cert", pkiText("Cert")), spec(dir, "key", pkiText("Key")))
		after(time.Hour)
		var gaps []time.Duration
		for _, at := range issued()[:5] {
			gaps = append(gaps, at.Sub(start))
		}
		if want := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second}; !slices.Equal(gaps, want) {
			t.Errorf("issued at %v, want %v", gaps, want)
		}
		if len(issued()) > 70 {
			t.Errorf("issued %d times in an hour", len(issued()))
		}
	})
}

func TestARefusedCertificateLeavesTheOldOneAndIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		src, issued := issuing(t)
		sp := spec(t.TempDir(), "bundle.pem", bundleText)
		w := watch(t, src, Options{}, WatchOptions{Retry: retry.Schedule{Base: time.Second, Max: time.Minute}}, sp)
		before := read(t, sp.Destination)
		src.mu.Lock()
		src.errs["write pki/issue/web"] = errDenied
		src.mu.Unlock()
		after(95 * time.Hour / 10)
		if read(t, sp.Destination) != before || w.status("bundle.pem").Err == nil {
			t.Error("the old one is gone, or nothing is told")
		}
		src.mu.Lock()
		delete(src.errs, "write pki/issue/web")
		src.mu.Unlock()
		after(time.Minute)
		if read(t, sp.Destination) == before || w.status("bundle.pem").Err != nil || len(issued()) != 2 {
			t.Errorf("not replaced: issued %d times", len(issued()))
		}
	})
}

func TestAPkiRequestIsFreshAndNotRetained(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		src, _ := issuing(t)
		fresh := false
		issue := src.issue
		src.issue = func(r Request) *cred.Secret {
			fresh = r.Fresh
			return issue(r)
		}
		watch(t, src, Options{}, WatchOptions{}, spec(t.TempDir(), "bundle.pem", bundleText), spec(t.TempDir(), "x", "x"))
		src.mu.Lock()
		defer src.mu.Unlock()
		if !fresh || len(src.held) != 0 {
			t.Error("the certificate is held by somebody else")
		}
	})
}
