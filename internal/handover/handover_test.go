package handover

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"latchkey/internal/cred"
)

const canary = "hvs.CANARY-token"

var (
	key   = []byte("0123456789abcdef0123456789abcdef")
	other = []byte("another key of thirty-two bytes!")
)

func file(path string, key []byte, bind string) *File {
	return New(Options{Path: path, Key: func() ([]byte, error) { return key, nil }, Bind: bind})
}

func token(value string) cred.Token { return cred.Token{Value: cred.Redact(value)} }

func mustSave(t *testing.T, f *File, value string) []byte {
	t.Helper()
	if err := f.Save(token(value)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(f.o.Path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestATokenComesBackInTheNextRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	f := file(path, key, "approle")
	if tok, err := f.Load(); err != nil || !tok.Empty() {
		t.Errorf("before there is one: %v", err)
	}
	first := mustSave(t, f, canary)
	if tok, err := file(path, key, "approle").Load(); err != nil || tok.Reveal() != canary {
		t.Errorf("got %v", err)
	}
	if bytes.Contains(first, []byte("CANARY")) {
		t.Error("the file shows the token")
	}
	if second := mustSave(t, f, canary); bytes.Equal(first[:len(magic)+saltSize], second[:len(magic)+saltSize]) {
		t.Error("two files share a salt, and so a key and a nonce")
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	for range 2 {
		if err := f.Forget(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestAFileThatIsNotOurs(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
		key    []byte
		bind   string
		want   error
	}{
		{"another key", nil, other, "approle", ErrSealed},
		{"another configuration", nil, key, "jwt", ErrSealed},
		{"a changed salt", func(b []byte) []byte { b[len(magic)] ^= 1; return b }, key, "approle", ErrSealed},
		{"a changed token", func(b []byte) []byte { b[len(b)-20] ^= 1; return b }, key, "approle", ErrSealed},
		{"cut off", func(b []byte) []byte { return b[:len(b)-1] }, key, "approle", ErrSealed},
		{"cut off in its salt", func(b []byte) []byte { return b[:len(magic)+3] }, key, "approle", ErrForeign},
		{"longer than it was", func(b []byte) []byte { return append(b, 0) }, key, "approle", ErrSealed},
		{"a later version", func(b []byte) []byte { b[len(magic)-1]++; return b }, key, "approle", ErrForeign},
		{"a bare token", func([]byte) []byte { return []byte(canary) }, key, "approle", ErrForeign},
		{"empty", func([]byte) []byte { return nil }, key, "approle", ErrForeign},
		{"huge", func([]byte) []byte { return bytes.Repeat([]byte("x"), maxFile+1) }, key, "approle", ErrForeign},
		{"a short key", nil, key[:15], "approle", ErrKey},
		{"no key", nil, nil, "approle", ErrKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "token")
			data := mustSave(t, file(path, key, "approle"), canary)
			if c.change != nil {
				if err := os.WriteFile(path, c.change(data), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			tok, err := file(path, c.key, c.bind).Load()
			if !errors.Is(err, c.want) || !tok.Empty() || strings.Count(err.Error(), path) != 1 || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFaultsAreNamed(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("the variable is not set")
	keyless := New(Options{Path: filepath.Join(dir, "x"), Key: func() ([]byte, error) { return nil, broken }})
	if err := keyless.Save(token(canary)); !errors.Is(err, ErrKey) || !errors.Is(err, broken) {
		t.Errorf("without a key: %v", err)
	}
	if _, err := os.Lstat(keyless.o.Path); err == nil {
		t.Error("a file was written without a key")
	}
	if err := file(filepath.Join(dir, "y"), key, "").Save(cred.Token{}); err == nil {
		t.Error("no token was kept")
	}
	lost := file(filepath.Join(dir, "none", "x"), key, "")
	if err := lost.Save(token(canary)); !errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), lost.o.Path) != 1 {
		t.Errorf("no folder: %v", err)
	}
	folder := file(dir, key, "")
	if err := os.WriteFile(filepath.Join(dir, "full"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Load(); err == nil || strings.Count(err.Error(), dir) != 1 {
		t.Errorf("a folder was read: %v", err)
	}
	if err := folder.Forget(); err == nil {
		t.Error("a full folder was removed")
	}
}

func FuzzOpen(f *testing.F) {
	good, err := seal(cred.Redact(canary), key, "approle")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte(magic))
	f.Add([]byte(canary))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := open(data, key, "approle")
		switch {
		case err == nil:
			// Nobody makes one without the key.
			if !bytes.Equal(data, good) && tok.Reveal() != canary {
				t.Errorf("a made up file opened: %x", data)
			}
		case !tok.Empty():
			t.Error("a token and an error")
		case !errors.Is(err, ErrForeign) && !errors.Is(err, ErrSealed):
			t.Errorf("error is %v", err)
		}
	})
}
