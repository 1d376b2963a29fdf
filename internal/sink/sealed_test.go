package sink

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

func newKey(t testing.TB) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// reader is who the token is sealed for.
type reader struct {
	key          *ecdh.PrivateKey
	dhPath, path string
}

func newReader(t *testing.T) reader {
	dir := t.TempDir()
	r := reader{newKey(t), filepath.Join(dir, "pub.json"), filepath.Join(dir, "token")}
	r.announce(t, r.key)
	return r
}

func (r reader) announce(t *testing.T, k *ecdh.PrivateKey) {
	t.Helper()
	data, err := MarshalPublicKey(k.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.dhPath, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r reader) stanza() config.Sink {
	return config.Sink{
		Type: "file", DHType: "curve25519", DHPath: r.dhPath,
		Config: config.NewBlock("file", map[string]any{"path": r.path}),
	}
}

func (r reader) envelope(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var canary = cred.Token{Value: cred.Redact("hvs.canary-token")}

func mustWrite(t *testing.T, s Sink) {
	t.Helper()
	if err := s.Write(t.Context(), canary); err != nil {
		t.Fatal(err)
	}
}

func mustNew(t *testing.T, st config.Sink, o Options) Sink {
	t.Helper()
	s, err := New(st, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealedTokenIsOpenedByItsReaderAlone(t *testing.T) {
	env := func(name string) (string, bool) { return "from env", name == "AAD" }
	for _, tc := range []struct {
		name   string
		change func(*config.Sink)
		aad    string
		derive bool
	}{
		{"plainly", func(*config.Sink) {}, "", false},
		{"with a derived key", func(s *config.Sink) { s.DeriveKey = true }, "", true},
		{"with additional data", func(s *config.Sink) { s.AAD = "pod-1" }, "pod-1", false},
		{"with additional data of the environment", func(s *config.Sink) { s.AAD, s.AADEnvVar, s.DeriveKey = "pod-1", "AAD", true }, "from env", true},
		{"with a variable that is not set", func(s *config.Sink) { s.AAD, s.AADEnvVar = "pod-1", "NOPE" }, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newReader(t)
			st := r.stanza()
			tc.change(&st)
			s := mustNew(t, st, Options{LookupEnv: env})
			if err := s.(Checker).Check(); err != nil {
				t.Fatal(err)
			}
			mustWrite(t, s)
			e := r.envelope(t)
			if bytes.Contains(e, []byte("canary")) {
				t.Fatal("the token is there to read")
			}
			got, err := Open(e, r.key, []byte(tc.aad), tc.derive)
			if err != nil || string(got) != "hvs.canary-token" {
				t.Errorf("got %q, %v", got, err)
			}
			for name, open := range map[string]func() ([]byte, error){
				"another key":    func() ([]byte, error) { return Open(e, newKey(t), []byte(tc.aad), tc.derive) },
				"other data":     func() ([]byte, error) { return Open(e, r.key, []byte(tc.aad+"x"), tc.derive) },
				"other deriving": func() ([]byte, error) { return Open(e, r.key, []byte(tc.aad), !tc.derive) },
			} {
				if got, err := open(); !errors.Is(err, ErrEnvelope) || got != nil {
					t.Errorf("%s: got %q, %v", name, got, err)
				}
			}
		})
	}
}

// The envelope is opened here without this package, as a reader written in
// another language would.
func TestEnvelopeIsTheFormatThatReadersKnow(t *testing.T) {
	for _, derive := range []bool{false, true} {
		r := newReader(t)
		st := r.stanza()
		st.DeriveKey, st.AAD = derive, "aad"
		mustWrite(t, mustNew(t, st, Options{}))
		line := string(r.envelope(t))
		if !strings.HasPrefix(line, `{"curve25519_public_key":"`) || strings.Index(line, "\n") != len(line)-1 {
			t.Fatalf("got %q", line)
		}
		var e map[string]string
		if err := json.Unmarshal([]byte(line), &e); err != nil || len(e) != 3 {
			t.Fatalf("got %q, %v", e, err)
		}
		raw := map[string][]byte{}
		for k, v := range e {
			b, err := base64.StdEncoding.DecodeString(v)
			if err != nil {
				t.Fatal(err)
			}
			raw[k] = b
		}
		theirs, err := ecdh.X25519().NewPublicKey(raw["curve25519_public_key"])
		if err != nil {
			t.Fatal(err)
		}
		key, err := r.key.ECDH(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if derive {
			low, high := r.key.PublicKey().Bytes(), theirs.Bytes()
			if bytes.Compare(low, high) > 0 {
				low, high = high, low
			}
			mac := func(key []byte, data ...[]byte) []byte {
				h := hmac.New(sha256.New, key)
				for _, d := range data {
					h.Write(d)
				}
				return h.Sum(nil)
			}
			key = mac(mac(low, key), high, []byte{1}) // RFC 5869, one block
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw["nonce"]) != 12 {
			t.Fatalf("nonce of %d bytes", len(raw["nonce"]))
		}
		got, err := gcm.Open(nil, raw["nonce"], raw["encrypted_payload"], []byte("aad"))
		if err != nil || string(got) != "hvs.canary-token" {
			t.Errorf("derive %v: got %q, %v", derive, got, err)
		}
	}
}

func TestReaderIsTrustedOnFirstUse(t *testing.T) {
	r := newReader(t)
	s := mustNew(t, r.stanza(), Options{})
	mustWrite(t, s)
	first := r.envelope(t)
	r.announce(t, newKey(t)) // somebody else wants the next one
	mustWrite(t, s)
	second := r.envelope(t)
	if got, err := Open(second, r.key, nil, false); err != nil || string(got) != "hvs.canary-token" {
		t.Errorf("got %q, %v", got, err)
	}
	var a, b envelopeJSON
	if json.Unmarshal(first, &a) != nil || json.Unmarshal(second, &b) != nil {
		t.Fatal("not JSON")
	}
	if !bytes.Equal(a.PublicKey, b.PublicKey) {
		t.Error("our key changed within one life")
	}
	if bytes.Equal(a.Nonce, b.Nonce) {
		t.Error("the nonce was used twice")
	}
}

func TestReaderWhoIsLate(t *testing.T) {
	r := newReader(t)
	s := mustNew(t, r.stanza(), Options{})
	spoils := map[string]func(){
		"not there": func() { os.Remove(r.dhPath) },
		"empty":     func() { os.WriteFile(r.dhPath, nil, 0o600) },
		"half":      func() { os.WriteFile(r.dhPath, []byte(`{"curve25519_public_key": "AAA`), 0o600) },
		"no key":    func() { os.WriteFile(r.dhPath, []byte(`{}`), 0o600) },
		"short key": func() { os.WriteFile(r.dhPath, []byte(`{"curve25519_public_key":"AAAA"}`), 0o600) },
		"useless key": func() {
			os.WriteFile(r.dhPath, []byte(`{"curve25519_public_key":"`+strings.Repeat("A", 43)+`="}`), 0o600)
		},
	}
	for name, spoil := range spoils {
		spoil()
		err := s.Write(t.Context(), canary)
		if err == nil || retry.IsPermanent(err) || !strings.Contains(err.Error(), r.dhPath) {
			t.Errorf("%s: got %v", name, err)
		}
		if name != "useless key" && s.(Checker).Check() == nil {
			t.Errorf("%s: passes the check", name)
		}
	}
	if _, err := os.Stat(r.path); err == nil {
		t.Error("something was written")
	}
	r.announce(t, r.key)
	mustWrite(t, s)
	if _, err := Open(r.envelope(t), r.key, nil, false); err != nil {
		t.Error(err)
	}
	os.Remove(r.dhPath)
	if err := os.Mkdir(r.dhPath, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := mustNew(t, r.stanza(), Options{}).Write(t.Context(), canary); !retry.IsPermanent(err) {
		t.Errorf("a folder for a key: got %v", err)
	}
}

func TestOneKeyOnBothSidesIsRefused(t *testing.T) {
	k := newKey(t)
	if line, err := seal(k, k.PublicKey(), true, nil, []byte("x")); err == nil {
		t.Errorf("got %s", line)
	}
	e, _ := json.Marshal(envelopeJSON{PublicKey: k.PublicKey().Bytes(), Nonce: make([]byte, 12), Payload: make([]byte, 20)})
	if _, err := Open(e, k, nil, false); !errors.Is(err, ErrEnvelope) {
		t.Errorf("got %v", err)
	}
}

// FuzzEnvelope: whatever lies where the envelope should be, Open returns an
// error that is ErrEnvelope and quotes nothing, or the very bytes sealed.
func FuzzEnvelope(f *testing.F) {
	private := newKey(f)
	good, err := seal(newKey(f), private.PublicKey(), true, []byte("aad"), []byte("hvs.canary"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, true)
	f.Add(good, false)
	f.Add(good[:len(good)/2], true)
	f.Add([]byte(`{}`), false)
	f.Add([]byte(`null`), false)
	f.Add([]byte(`{"curve25519_public_key":"`+strings.Repeat("A", 43)+`=","nonce":"","encrypted_payload":""}`), true)
	f.Add([]byte(`{"curve25519_public_key":"CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","nonce":"AAAA","encrypted_payload":"AAAA"}`), false)
	f.Fuzz(func(t *testing.T, envelope []byte, derive bool) {
		got, err := Open(envelope, private, []byte("aad"), derive)
		switch {
		case err != nil && !errors.Is(err, ErrEnvelope):
			t.Errorf("got %v", err)
		case err != nil && (got != nil || strings.Contains(err.Error(), "canary")):
			t.Errorf("got %q, %v", got, err)
		case err == nil && string(got) != "hvs.canary":
			t.Errorf("opened to %q", got)
		}
		// What is sealed for a reader is what the reader finds.
		line, err := seal(newKey(t), private.PublicKey(), derive, envelope, envelope)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Open(line, private, envelope, derive); err != nil || !bytes.Equal(back, envelope) {
			t.Errorf("sealed %q, found %q, %v", envelope, back, err)
		}
	})
}
