package template

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
)

// authority issues certificates for tests.
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  string
	life time.Duration
}

func newAuthority(t testing.TB) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, key, cert, block("CERTIFICATE", der), 100 * time.Hour}
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// issue answers as pki/issue does, for its life from now.
func (a *authority) issue(cn string) *cred.Secret {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: cn}, DNSNames: []string{cn},
		NotBefore: time.Now(), NotAfter: time.Now().Add(a.life),
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return plainSecret(map[string]any{
		"certificate": strings.TrimSpace(block("CERTIFICATE", der)), "issuing_ca": strings.TrimSpace(a.pem),
		"ca_chain": []any{strings.TrimSpace(a.pem)}, "private_key": strings.TrimSpace(block("EC PRIVATE KEY", keyDER)),
		"private_key_type": "ec", "serial_number": "02",
	})
}

const bundleText = `{{ with pkiCert "pki/issue/web" "common_name=a.example" "ttl=100h" }}{{ .Data.Key }}{{ .Cert }}{{ .CA }}{{ range .CAChain }}chain{{ end }}{{ end }}`

// steps renders the specs, each time after waiting, and returns the number of
// requests made by each.
func steps(t *testing.T, specs []Spec, waits ...time.Duration) (counts []int) {
	ca := newAuthority(t)
	for _, w := range waits {
		time.Sleep(w)
		r := newReader()
		r.secrets["write pki/issue/web"] = ca.issue("a.example")
		rep, err := mustNew(t, Options{}, specs...).Render(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, rep.Requests)
	}
	return counts
}

func TestPkiCertReusesTheCertificateInItsDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sp := spec(t.TempDir(), "bundle.pem", bundleText)
		got := steps(t, []Spec{sp}, 0, 0, 85*time.Hour, 10*time.Hour, time.Hour, 200*time.Hour)
		if want := []int{1, 0, 0, 1, 0, 1}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("requests %v, want %v", got, want)
		}
		out := read(t, sp.Destination)
		if strings.Count(out, "BEGIN CERTIFICATE") != 2 || !strings.Contains(out, "EC PRIVATE KEY") || !strings.HasSuffix(out, "chain") {
			t.Errorf("wrote %s", out)
		}
	})
}

func TestPkiCertIssuesAnewForAnotherThreshold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sp := spec(t.TempDir(), "bundle.pem", bundleText)
		ca, r := newAuthority(t), newReader()
		r.secrets["write pki/issue/web"] = ca.issue("a.example")
		for i, want := range []int{1, 1} {
			rep, err := mustNew(t, Options{RenewThreshold: 0.5}, sp).Render(t.Context(), r)
			if err != nil || rep.Requests != want {
				t.Errorf("time %d: %d requests, %v", i, rep.Requests, err)
			}
			time.Sleep(60 * time.Hour)
		}
	})
}

func TestPkiCertFindsKeyAndCAInFilesOfWriteToFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		key, ca := filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
		sp := spec(dir, "cert.pem", fmt.Sprintf(
			`{{ with pkiCert "pki/issue/web" "common_name=a.example" }}{{ .Cert }}{{ .Key | writeToFile %q "" "" "0600" }}{{ .CA | writeToFile %q "" "" "0644" }}{{ end }}`, key, ca))
		if got := steps(t, []Spec{sp}, 0, 0); fmt.Sprint(got) != "[1 0]" {
			t.Errorf("requests %v", got)
		}
		if !strings.Contains(read(t, key), "PRIVATE KEY") || !strings.Contains(read(t, ca), "CERTIFICATE") {
			t.Error("key or CA is gone after the second time")
		}
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		if got := steps(t, []Spec{sp}, 0); fmt.Sprint(got) != "[1]" {
			t.Errorf("a lost key was not replaced: requests %v", got)
		}
		if !strings.Contains(read(t, key), "PRIVATE KEY") {
			t.Error("no key")
		}
	})
}

func TestTemplatesShareOneCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		text := func(field string) string {
			return `{{ with pkiCert "pki/issue/web" "common_name=a.example" }}{{ .` + field + ` }}{{ end }}`
		}
		specs := []Spec{spec(dir, "cert", text("Cert")), spec(dir, "key", text("Key"))}
		if got := steps(t, specs, 0, 0, 99*time.Hour); fmt.Sprint(got) != "[1 0 1]" {
			t.Errorf("requests %v", got)
		}
		var s pemScan
		s.scan(read(t, specs[0].Destination))
		s.scan(read(t, specs[1].Destination))
		if b := s.bundle(s.certs[0]); b.Key == "" {
			t.Error("certificate and key do not belong together")
		}
	})
}

func TestPkiCertDoesNotReuseWhatDoesNotFit(t *testing.T) {
	ca := newAuthority(t)
	whole := func(s *cred.Secret, names ...string) string {
		var b strings.Builder
		for _, n := range names {
			b.WriteString("  junk " + strings.ReplaceAll(s.Data[n].(string), "\n", "\n    ") + "\n")
		}
		return b.String()
	}
	a, b, other := ca.issue("a.example"), ca.issue("a.example"), ca.issue("other.example")
	all := []string{"certificate", "private_key", "issuing_ca"}
	for _, tc := range []struct {
		name, have string
		want       int
	}{
		{"all there, indented and among junk", whole(a, all...), 0},
		{"no key", whole(a, "certificate", "issuing_ca"), 1},
		{"no CA", whole(a, "certificate", "private_key"), 1},
		{"the key of another certificate", whole(a, "certificate", "issuing_ca") + whole(b, "private_key"), 1},
		{"a certificate for another name", whole(other, all...), 1},
		{"two names in one file", whole(a, all...) + whole(other, all...), 0},
		{"half a block", "-----BEGIN CERTIFICATE-----\nabc", 1},
		{"an empty file", "", 1},
		{"broken blocks", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n-----BEGIN X-----\n-----END X", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sp := spec(t.TempDir(), "x", bundleText)
			if err := os.WriteFile(sp.Destination, []byte(tc.have), 0o600); err != nil {
				t.Fatal(err)
			}
			r := newReader()
			r.secrets["write pki/issue/web"] = b
			rep, err := mustNew(t, Options{}, sp).Render(t.Context(), r)
			if err != nil || rep.Requests != tc.want {
				t.Errorf("%d requests, %v", rep.Requests, err)
			}
		})
	}
}

func TestTwoNamesInOneTemplateGetTheirOwnCertificates(t *testing.T) {
	ca, r := newAuthority(t), newReader()
	r.secrets["write pki/issue/a"], r.secrets["write pki/issue/b"] = ca.issue("a.example"), ca.issue("b.example")
	sp := spec(t.TempDir(), "x", `{{ with pkiCert "pki/issue/a" "common_name=a.example" }}{{ .Cert }}{{ .Key }}{{ end }}{{ with pkiCert "pki/issue/b" "common_name=b.example" }}{{ .Cert }}{{ .Key }}{{ end }}`)
	for i, want := range []int{2, 0} {
		rep, err := mustNew(t, Options{}, sp).Render(t.Context(), r)
		if err != nil || rep.Requests != want {
			t.Fatalf("time %d: %d requests, %v", i, rep.Requests, err)
		}
		var s pemScan
		s.scan(read(t, sp.Destination))
		if len(s.certs) != 2 || s.certs[0].cert.Subject.CommonName != "a.example" || s.certs[1].cert.Subject.CommonName != "b.example" {
			t.Errorf("time %d: wrong certificates", i)
		}
	}
}

func TestACertificateWithoutANameIsNotTakenForAnother(t *testing.T) {
	ca, r := newAuthority(t), newReader()
	r.secrets["write pki/sign/a"], r.secrets["write pki/sign/b"] = ca.issue("a.example"), ca.issue("b.example")
	two := spec(t.TempDir(), "x", `{{ with pkiCert "pki/sign/a" "csr=1" }}{{ .Cert }}{{ with pkiCert "pki/sign/b" "csr=2" }}{{ .Cert }}{{ end }}{{ end }}`)
	one := spec(t.TempDir(), "x", `{{ with pkiCert "pki/sign/a" "csr=1" }}{{ .Cert }}{{ end }}`)
	for i, want := range [][2]int{{2, 1}, {2, 0}} {
		for k, sp := range []Spec{two, one} {
			rep, err := mustNew(t, Options{}, sp).Render(t.Context(), r)
			if err != nil || rep.Requests != want[k] {
				t.Errorf("time %d, template %d: %d requests, %v", i, k, rep.Requests, err)
			}
		}
	}
}

func TestPkiCertErrors(t *testing.T) {
	r := newReader()
	r.errs["write pki/issue/denied"] = errDenied
	r.secrets["write pki/issue/none"] = plainSecret(map[string]any{"x": "y"})
	r.secrets["kv/a"] = plainSecret(nil)
	_, err := render(t, r, Options{}, `{{ pkiCert "pki/issue/denied" "common_name=a" }}`)
	wantError(t, err, errDenied, "write pki/issue/denied")
	_, err = render(t, r, Options{}, `{{ pkiCert "pki/issue/none" "common_name=a" }}`)
	wantError(t, err, nil, "write pki/issue/none", "no certificate")
	// One that asks when the answer is known.
	dir := t.TempDir()
	_, err = mustNew(t, Options{},
		spec(dir, "1", `{{ pkiCert "pki/issue/denied" "common_name=a" }}`),
		spec(dir, "2", `{{ with secret "kv/a" }}{{ pkiCert "pki/issue/denied" "common_name=a" }}{{ end }}`)).Render(t.Context(), r)
	wantError(t, err, errDenied, "/2)")
	if got, err := render(t, r, Options{}, `{{ with pkiCert }}x{{ else }}nil{{ end }}`); err != nil || got != "nil" {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzPEM(f *testing.F) {
	f.Add("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	f.Add("-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----")
	f.Add("-----BEGIN -----END ---")
	f.Fuzz(func(t *testing.T, text string) {
		var s pemScan
		s.scan(text)
		for _, k := range s.keys {
			if !strings.HasPrefix(k.text, "-----BEGIN ") || !strings.HasSuffix(k.text, "-----\n") {
				t.Errorf("key block %q", k.text)
			}
		}
	})
}
