package persist

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"latchkey/internal/cred"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("PERSIST_TEST_WRITER"); path != "" {
		writeForever(path)
		return
	}
	goleak.VerifyTestMain(m)
}

var (
	key   = []byte("0123456789abcdef0123456789abcdef")
	other = []byte("another key of thirty-two bytes!")
)

const canary = "hvs.CANARY-token"

// journal is a log that tests look into.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) count(part string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.buf.String(), part)
}

func logTo(j *journal) *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func with(path string, key []byte) Options {
	return Options{Path: path, Key: func() ([]byte, error) { return key, nil }, Bind: "https://vault:8200", Log: slog.New(slog.DiscardHandler), unsynced: true}
}

// open opens a file that must be good.
func open(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(with(path, key))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func closed(t testing.TB, f *File) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// content is what stands in a bucket.
func content(b Bucket) map[string]string {
	all := map[string]string{}
	b.Each(func(key string, value []byte) { all[key] = string(value) })
	return all
}

func wants(t testing.TB, b Bucket, want map[string]string) {
	t.Helper()
	if got := content(b); !maps.Equal(got, want) {
		t.Errorf("%s holds %d records, want %d: %.300v", b.name, len(got), len(want), got)
	}
}

// asides are the files beside one that were set aside.
func asides(t testing.TB, path string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"+beside+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// sample makes a file with records of all sizes, and returns what stands in it.
func sample(t testing.TB, path string, n int) map[string]string {
	t.Helper()
	f := open(t, path)
	want := map[string]string{}
	for i := range n {
		name, value := fmt.Sprintf("name-%d", i), strings.Repeat(fmt.Sprint(i), 1+i*7%300)
		if i == n/2 {
			value = strings.Repeat("large ", 4000)
		}
		want[name] = value
		f.Bucket("lease").Put(name, []byte(value))
	}
	if err := f.Handover("default").Save(cred.Token{Value: cred.Redact(canary)}); err != nil {
		t.Fatal(err)
	}
	// Pages are freed by what is removed later.
	for i := range n / 4 {
		name := fmt.Sprintf("name-%d", i*2)
		delete(want, name)
		f.Bucket("lease").Delete(name)
	}
	closed(t, f)
	return want
}

func TestWhatIsPutIsThereAtOnceAndInTheNextProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey-cache.db")
	f := open(t, path)
	a, b := f.Bucket("cache"), f.Bucket("lease")
	a.Put("one", []byte("1"))
	a.Put("two", []byte("2"))
	a.Put("", []byte{})
	b.Put("one", []byte("other"))
	wants(t, a, map[string]string{"one": "1", "two": "2", "": ""})
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	wants(t, a, map[string]string{"one": "1", "two": "2", "": ""})
	a.Put("one", []byte("again"))
	a.Delete("two")
	a.Delete("nothing")
	wants(t, a, map[string]string{"one": "again", "": ""})
	closed(t, f)
	closed(t, f)
	f = open(t, path)
	a, b = f.Bucket("cache"), f.Bucket("lease")
	wants(t, a, map[string]string{"one": "again", "": ""})
	wants(t, b, map[string]string{"one": "other"})
	a.Clear()
	a.Put("new", []byte("n"))
	wants(t, a, map[string]string{"new": "n"})
	closed(t, f)
	f = open(t, path)
	wants(t, f.Bucket("cache"), map[string]string{"new": "n"})
	wants(t, f.Bucket("lease"), map[string]string{"one": "other"})
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if n := asides(t, path); len(n) > 0 {
		t.Errorf("set aside: %v", n)
	}
}

func TestNothingReadableStandsInTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	f := open(t, path)
	f.Bucket("cache").Put("CANARY-name", []byte("CANARY-value"))
	if err := f.Handover("CANARY-identity").Save(cred.Token{Value: cred.Redact(canary)}); err != nil {
		t.Fatal(err)
	}
	closed(t, f)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{[]byte("CANARY"), key, key[:16]} {
		if bytes.Contains(data, part) {
			t.Errorf("the file shows %s", part)
		}
	}
}

func TestATokenIsHandedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	f := open(t, path)
	h := f.Handover("default")
	if tok, err := h.Load(); err != nil || !tok.Empty() {
		t.Errorf("before there is one: %v %v", tok, err)
	}
	if err := h.Save(cred.Token{}); err == nil {
		t.Error("no token was kept")
	}
	if err := h.Save(cred.Token{Value: cred.Redact(canary)}); err != nil {
		t.Fatal(err)
	}
	closed(t, f)
	f = open(t, path)
	if tok, err := f.Handover("default").Load(); err != nil || tok.Reveal() != canary {
		t.Errorf("got %v, %v", tok, err)
	}
	if tok, err := f.Handover("another login").Load(); err != nil || !tok.Empty() {
		t.Errorf("another login got %v, %v", tok, err)
	}
	for range 2 {
		if err := f.Handover("default").Forget(); err != nil {
			t.Error(err)
		}
	}
	closed(t, f)
	f = open(t, path)
	if tok, err := f.Handover("default").Load(); err != nil || !tok.Empty() {
		t.Errorf("forgotten, but got %v, %v", tok, err)
	}
	closed(t, f)
	if _, err := f.Handover("default").Load(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if err := f.Handover("default").Save(cred.Token{Value: cred.Redact("x")}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestASecondProcessIsToldThatTheFileIsInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	f := open(t, path)
	f.Bucket("lease").Put("a", []byte("1"))
	second, err := Open(with(path, key))
	if second != nil || !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if n := asides(t, path); len(n) > 0 {
		t.Errorf("the file of somebody else was set aside: %v", n)
	}
	closed(t, f)
	wants(t, open(t, path).Bucket("lease"), map[string]string{"a": "1"})
}

func TestAFileThatIsNotOursIsSetAside(t *testing.T) {
	for _, c := range []struct {
		name string
		o    func(o *Options)
		make func(t *testing.T, path string)
		want error
	}{
		{"another key", func(o *Options) { o.Key = func() ([]byte, error) { return other, nil } }, nil, ErrForeign},
		{"another server", func(o *Options) { o.Bind = "https://elsewhere" }, nil, ErrForeign},
		{"a text", nil, func(t *testing.T, path string) { write(t, path, []byte("hello")) }, ErrDamaged},
		{"zeros", nil, func(t *testing.T, path string) { write(t, path, make([]byte, 1<<16)) }, ErrDamaged},
		{"cut off", nil, func(t *testing.T, path string) {
			if err := os.Truncate(path, 9000); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged},
		{"somebody else's database", nil, func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucket([]byte("theirs"))
				return errors.Join(err, b.Put([]byte("k"), []byte("v")))
			})
			if err = errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
		}, ErrForeign},
		{"a later version", nil, func(t *testing.T, path string) {
			f := open(t, path)
			err := f.db.Update(func(tx *bbolt.Tx) error {
				b := tx.Bucket(headBucket)
				head := bytes.Clone(b.Get(headKey))
				head[len(magic)-1]++
				return b.Put(headKey, head)
			})
			if err != nil {
				t.Fatal(err)
			}
			closed(t, f)
		}, ErrForeign},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			sample(t, path, 10)
			if c.make != nil {
				c.make(t, path)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			o := with(path, key)
			if c.o != nil {
				c.o(&o)
			}
			f, err := Open(o)
			if f == nil || !errors.Is(err, ErrSetAside) || !errors.Is(err, c.want) {
				t.Fatalf("got %v", err)
			}
			beside := asides(t, path)
			if len(beside) != 1 || !strings.Contains(err.Error(), filepath.Base(beside[0])) || !strings.Contains(err.Error(), path) {
				t.Fatalf("%v beside, and the error says %v", beside, err)
			}
			if after, err := os.ReadFile(beside[0]); err != nil || !bytes.Equal(before, after) {
				t.Errorf("what was set aside was changed: %v", err)
			}
			wants(t, f.Bucket("lease"), map[string]string{})
			f.Bucket("lease").Put("a", []byte("1"))
			closed(t, f)
			f, err = Open(o)
			if err != nil {
				t.Fatal(err)
			}
			wants(t, f.Bucket("lease"), map[string]string{"a": "1"})
			closed(t, f)
		})
	}
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOfWhatIsSetAsideThreeAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db [1]*")
	write(t, filepath.Join(filepath.Dir(path), "unrelated"+beside+"x"), nil)
	for i := range 6 {
		write(t, path, fmt.Appendf(nil, "rubbish %d", i))
		f, err := Open(with(path, key))
		if !errors.Is(err, ErrSetAside) {
			t.Fatal(err)
		}
		closed(t, f)
	}
	var kept []string
	for _, name := range asides(t, path) {
		if data, err := os.ReadFile(name); err == nil && len(data) > 0 {
			kept = append(kept, string(data))
		}
	}
	if fmt.Sprint(kept) != "[rubbish 3 rubbish 4 rubbish 5]" || len(asides(t, path)) != 4 {
		t.Errorf("kept %q", kept)
	}
}

func TestFaultsAreNamedAndLeaveTheFileAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "db")
	want := sample(t, path, 10)
	broken := errors.New("the variable is not set")
	for _, c := range []struct {
		name string
		o    Options
		want error
	}{
		{"a short key", with(path, key[:15]), ErrKey},
		{"no key", with(path, nil), ErrKey},
		{"a key that cannot be had", Options{Path: path, Key: func() ([]byte, error) { return nil, broken }}, broken},
		{"no folder", with(filepath.Join(dir, "none", "db"), key), fs.ErrNotExist},
		{"a folder", with(dir, key), nil},
	} {
		f, err := Open(c.o)
		if err == nil || f != nil || c.want != nil && !errors.Is(err, c.want) || errors.Is(err, ErrSetAside) ||
			strings.Count(err.Error(), c.o.Path) != 1 || strings.Contains(err.Error(), string(key[:15])) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	wants(t, open(t, path).Bucket("lease"), want)
	if n := asides(t, path); len(n) > 0 {
		t.Errorf("set aside: %v", n)
	}
}

func TestARecordThatWasMovedOrChangedIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name   string
		change func(lease, cache *bbolt.Bucket, at, at2 []byte) error
		left   map[string]string
	}{
		{"to another bucket", func(lease, cache *bbolt.Bucket, at, _ []byte) error {
			return cache.Put(at, lease.Get(at))
		}, map[string]string{"a": "1", "b": "2"}},
		{"to another name", func(lease, _ *bbolt.Bucket, at, at2 []byte) error {
			return lease.Put(at2, lease.Get(at))
		}, map[string]string{"a": "1"}},
		{"to a name that nobody has", func(lease, _ *bbolt.Bucket, at, _ []byte) error {
			return lease.Put(bytes.Repeat([]byte("x"), nameSize), lease.Get(at))
		}, map[string]string{"a": "1", "b": "2"}},
		{"a bit", func(lease, _ *bbolt.Bucket, at, _ []byte) error {
			v := bytes.Clone(lease.Get(at))
			v[len(v)-1] ^= 1
			return lease.Put(at, v)
		}, map[string]string{"b": "2"}},
		{"cut off", func(lease, _ *bbolt.Bucket, at, _ []byte) error {
			return lease.Put(at, bytes.Clone(lease.Get(at)[:recordSalt]))
		}, map[string]string{"b": "2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, c.name)
			log := &journal{}
			o := with(path, key)
			o.Log = logTo(log)
			f, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			f.Bucket("lease").Put("a", []byte("1"))
			f.Bucket("lease").Put("b", []byte("2"))
			f.Bucket("cache").Put("c", []byte("3"))
			if err := f.Flush(); err != nil {
				t.Fatal(err)
			}
			err = f.db.Update(func(tx *bbolt.Tx) error {
				return c.change(tx.Bucket([]byte("lease")), tx.Bucket([]byte("cache")), f.sealer.name("lease", "a"), f.sealer.name("lease", "b"))
			})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				wants(t, f.Bucket("lease"), c.left)
				wants(t, f.Bucket("cache"), map[string]string{"c": "3"})
			}
			if log.count("are not used") != 1 {
				t.Errorf("told %d times: %s", log.count("are not used"), log.buf.String())
			}
		})
	}
}
