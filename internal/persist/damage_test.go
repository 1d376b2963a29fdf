package persist

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// looks opens data as a file and looks that what it gives is part of what was
// written. It reports whether the file was taken.
func looks(t testing.TB, dir string, data []byte, want map[string]string) bool {
	t.Helper()
	path := filepath.Join(dir, "damaged")
	for _, old := range append(asides(t, path), path) {
		_ = os.Remove(old)
	}
	write(t, path, data)
	f, err := Open(with(path, key))
	if f == nil {
		t.Fatalf("cannot begin anew: %v", err)
	}
	defer f.Close()
	if err != nil && (!errors.Is(err, ErrSetAside) || len(asides(t, path)) != 1) {
		t.Fatalf("%v", err)
	}
	got := content(f.Bucket("lease"))
	for name, value := range got {
		if want[name] != value {
			t.Fatalf("%s holds what was never written", name)
		}
	}
	if tok, err := f.Handover("default").Load(); err == nil && !tok.Empty() && tok.Reveal() != canary {
		t.Fatal("a token that was never saved")
	}
	if err != nil && len(got) > 0 {
		t.Fatalf("set aside, but it holds %d records", len(got))
	}
	// It can be used all the same.
	f.Bucket("lease").Put("new", []byte("n"))
	f.Bucket("lease").Delete("name-3")
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	if content(f.Bucket("lease"))["new"] != "n" {
		t.Fatal("what was put is not there")
	}
	return err == nil
}

func sampleBytes(t testing.TB, n int) ([]byte, map[string]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	want := sample(t, path, n)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data, want
}

func TestAFileThatWasCutOffAnywhereIsNeverTrustedInPart(t *testing.T) {
	data, want := sampleBytes(t, 150)
	dir := t.TempDir()
	taken := 0
	for size := 0; size < len(data); size += 509 {
		if size > 20_000 && size%7 != 0 {
			continue
		}
		if looks(t, dir, data[:size], want) {
			taken++
		}
	}
	// An empty file is a new one, and what is cut off behind the last page in use
	// is nothing.
	t.Logf("%d of the lengths were taken", taken)
	if !looks(t, dir, nil, nil) {
		t.Error("an empty file was set aside")
	}
	if looks(t, dir, data[:len(data)/2], want) && taken == 0 {
		t.Error("half a file was taken")
	}
}

func TestAFlippedBitAnywhereIsNeverWrongDataAndNeverAPanic(t *testing.T) {
	data, want := sampleBytes(t, 60)
	dir := t.TempDir()
	flips, pass := 0, 0
	for at := range data {
		if at%os.Getpagesize() > 300 && at%17 != 0 {
			continue // deep in a page there are values, or nothing
		}
		flips++
		bit := byte(1) << (at % 8)
		data[at] ^= bit
		err := verify(bytes.NewReader(data), int64(len(data)))
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d: %v", at, err)
		}
		if err == nil {
			pass++
		}
		if err == nil && pass%40 == 0 || err != nil && flips%40 == 0 {
			looks(t, dir, data, want)
		}
		data[at] ^= bit
	}
	t.Logf("%d of %d flips leave the structure as it is", pass, flips)
	if pass == flips || pass == 0 {
		t.Error("the look at the structure decides nothing")
	}
}

// Damage that comes while the file is open nobody looks for. Records that are not in
// order any more lead whoever asks for the next one back to one that was there before.
func TestAKeyWithAFlippedBitDoesNotHaveTheFileReadForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	want := sample(t, path, 20)
	f := open(t, path)
	part, _, _, err := f.Bucket("lease").read(nil)
	if err != nil || len(part) == 0 {
		t.Fatal(part, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := part[len(part)-1].at
	for at := range data {
		if bytes.HasPrefix(data[at:], last) {
			data[at] = 0 // the first of all, at the end
		}
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(data, 0); err != nil || file.Close() != nil {
		t.Fatal(err)
	}
	for name, value := range content(f.Bucket("lease")) {
		if want[name] != value {
			t.Errorf("%s holds what was never written", name)
		}
	}
}

// What bbolt leaves behind is never taken for damaged, however it came about.
func TestWhatACommitLeavesIsNotDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	f := open(t, path)
	r := rand.New(rand.NewPCG(3, 4))
	buckets := []Bucket{f.Bucket("cache"), f.Bucket("lease"), f.Bucket("other")}
	for round := range 150 {
		for range 1 + r.IntN(400) {
			b, name := buckets[r.IntN(2)], strconv.Itoa(r.IntN(3000))
			switch r.IntN(3) {
			case 0:
				b.Delete(name)
			case 1:
				b.Put(name, make([]byte, r.IntN(200)))
			default:
				b.Put(name, make([]byte, r.IntN(1<<r.IntN(16))))
			}
		}
		if r.IntN(15) == 0 {
			buckets[r.IntN(3)].Clear()
		}
		buckets[2].Put("one", []byte("1"))
		if err := f.Flush(); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(file, info.Size()); err != nil {
			t.Fatalf("after commit %d, %d bytes: %v", round, info.Size(), err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPagesThatWereSwappedZeroedOrFilledAreNeverWrongData(t *testing.T) {
	data, want := sampleBytes(t, 150)
	dir := t.TempDir()
	size := os.Getpagesize()
	pages := len(data) / size
	page := func(b []byte, i int) []byte { return b[i*size : (i+1)*size] }
	r := rand.New(rand.NewPCG(1, 2))
	for i := range pages {
		for _, change := range []func(b []byte){
			func(b []byte) { clear(page(b, i)) },
			func(b []byte) {
				for j := range page(b, i) {
					page(b, i)[j] = 0xFF
				}
			},
			func(b []byte) { copy(page(b, i), page(data, r.IntN(pages))) },
			func(b []byte) {
				for range 20 {
					b[i*size+r.IntN(64)] = byte(r.Uint32())
				}
			},
		} {
			b := bytes.Clone(data)
			change(b)
			looks(t, dir, b, want)
		}
	}
}

// A file that is changed while it is open is beyond what a look before can find.
func TestAFileThatIsCutOffWhileItIsOpenEndsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	sample(t, path, 3000)
	f := open(t, path)
	log := &journal{}
	f.o.Log = logTo(log)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	b := f.Bucket("lease")
	if got := content(b); len(got) > 0 {
		t.Errorf("%d records of an empty file", len(got))
	}
	b.Put("a", []byte("1"))
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	wants(t, b, map[string]string{"a": "1"})
	if log.count("was changed while it was in use") != 1 {
		t.Errorf("told %s", log.buf.String())
	}
	closed(t, f)
	wants(t, open(t, path).Bucket("lease"), map[string]string{"a": "1"})
}

func TestAWriteIntoAFileThatWasCutOffBeginsAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	sample(t, path, 3000)
	f := open(t, path)
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	b := f.Bucket("lease")
	for name := range map[string]bool{"name-7": true, "b": true, "c": true} {
		b.Put(name, []byte("1"))
	}
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	closed(t, f)
	wants(t, open(t, path).Bucket("lease"), map[string]string{"name-7": "1", "b": "1", "c": "1"})
}

func TestVerifyTellsAFaultOfTheReaderFromDamage(t *testing.T) {
	data, _ := sampleBytes(t, 10)
	err := verify(failing{bytes.NewReader(data)}, int64(len(data)))
	if !errors.Is(err, io.ErrNoProgress) || errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ io.ReaderAt }

func (f failing) ReadAt(b []byte, off int64) (int, error) {
	if off > 2*int64(os.Getpagesize()) {
		return 0, io.ErrNoProgress
	}
	return f.ReaderAt.ReadAt(b, off)
}

func FuzzVerifyAndOpen(f *testing.F) {
	data, want := sampleBytes(f, 60)
	f.Add([]byte{0, 0, 0, 0, 1})
	f.Add([]byte{0, 16, 10, 3, 255, 0, 32, 8, 1, 1})
	f.Add([]byte{0, 0, 30, 0xFF, 0xFF, 0, 64, 0, 0, 0})
	dir := f.TempDir()
	// The input is a list of changes: three bytes of place, one of a value, one of
	// a count.
	f.Fuzz(func(t *testing.T, changes []byte) {
		b := bytes.Clone(data)
		for ; len(changes) >= 5; changes = changes[5:] {
			at := (int(changes[0])<<16 | int(changes[1])<<8 | int(changes[2])) % len(b)
			for i := range int(changes[4])%16 + 1 {
				if at+i < len(b) {
					b[at+i] ^= changes[3]
				}
			}
		}
		looks(t, dir, b, want)
	})
}

func FuzzOpenRecord(f *testing.F) {
	s, err := newSealer(bytes.Repeat([]byte("k"), keySize))
	if err != nil {
		f.Fatal(err)
	}
	at, good, err := s.seal("lease", "name", []byte("value"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("lease", at, good)
	f.Add("cache", at, good)
	f.Add("lease", at[:4], good[:recordSalt+tagSize])
	f.Add("", []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, bucket string, where, data []byte) {
		name, value, err := s.open(bucket, where, data)
		if err != nil {
			if !errors.Is(err, errSealed) || name != "" || value != nil {
				t.Errorf("%v along with %q", err, name)
			}
			return
		}
		// Nobody makes one without the key.
		if bucket != "lease" || name != "name" || string(value) != "value" {
			t.Errorf("made up, and opened: %q %x %x", bucket, where, data)
		}
	})
}

func FuzzUnwrap(f *testing.F) {
	secret := bytes.Repeat([]byte("k"), keySize)
	good, err := wrap(secret, key, "here")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := unwrap(data, key, "here"); err == nil && !bytes.Equal(got, secret) {
			t.Errorf("made up, and opened: %x", got)
		} else if err != nil && !errors.Is(err, ErrForeign) {
			t.Errorf("error is %v", err)
		}
	})
}
