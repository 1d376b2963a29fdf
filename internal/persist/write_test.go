package persist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
)

var errStop = errors.New("the test is over")

// running has Run beside the test; what is returned ends it.
func running(t *testing.T, f *File) (stop func()) {
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel(errStop)
		if err := <-ended; !errors.Is(err, errStop) {
			t.Errorf("ended with %v", err)
		}
	})
}

// commits is the number of transactions so far.
func commits(t *testing.T, f *File) (n int) {
	t.Helper()
	f.disk.Lock()
	defer f.disk.Unlock()
	if err := f.db.View(func(tx *bbolt.Tx) error { n = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestChangesAreWrittenTogetherAndSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, filepath.Join(t.TempDir(), "db"))
		defer running(t, f)()
		before := commits(t, f)
		for i := range 1500 {
			f.Bucket("cache").Put(strconv.Itoa(i%700), []byte("v"))
			if i%10 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(60 * time.Millisecond)
		if n := commits(t, f) - before; n != 1 {
			t.Errorf("%d transactions", n)
		}
		time.Sleep(time.Hour)
		if n := commits(t, f) - before; n != 1 {
			t.Errorf("%d transactions in a quiet hour", n)
		}
		f.Bucket("cache").Delete("1")
		time.Sleep(delay + time.Millisecond)
		if n := commits(t, f) - before; n != 2 || !f.soon().IsZero() {
			t.Errorf("%d transactions", n)
		}
	})
}

func TestWhatWasDeletedIsGoneFromTheFileOnceItSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, filepath.Join(t.TempDir(), "db"))
		b := f.Bucket("cache")
		stop := running(t, f)
		b.Put("token", []byte("v"))
		time.Sleep(time.Minute)
		before, start := commits(t, f), time.Now()
		b.Delete("token")
		b.Settle()
		if n := commits(t, f) - before; n != 1 || time.Since(start) >= delay {
			t.Errorf("%d transactions after %s", n, time.Since(start))
		}
		b.Settle() // with nothing to write
		if n := commits(t, f) - before; n != 1 || time.Since(start) >= delay {
			t.Errorf("%d transactions after %s", n, time.Since(start))
		}
		stop()
		// Nobody writes any more: that is no reason to wait for ever.
		b.Put("token", []byte("v"))
		start = time.Now()
		b.Settle()
		if waited := time.Since(start); waited != mostSettling {
			t.Errorf("waited %s", waited)
		}
	})
}

// bounded has a file that takes no more than some bytes, as on a disk that is full.
func (f *File) bounded(t *testing.T, most int) {
	t.Helper()
	f.disk.Lock()
	defer f.disk.Unlock()
	err := f.db.Close()
	if err == nil {
		f.db, err = bbolt.Open(f.o.Path, 0o600, &bbolt.Options{MaxSize: most, FreelistType: bbolt.FreelistMapType, NoSync: true})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFullDiskIsToldOnceAndWhatWaitsIsWrittenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		f := open(t, path)
		log := &journal{}
		f.o.Log = logTo(log)
		b := f.Bucket("cache")
		b.Put("old", []byte("1"))
		if err := f.Flush(); err != nil {
			t.Fatal(err)
		}
		f.bounded(t, 64<<10)
		defer running(t, f)()
		want := map[string]string{}
		b.Delete("old")
		for i := range 300 {
			name, value := strconv.Itoa(i), fmt.Sprintf("%01000d", i)
			b.Put(name, []byte(value))
			want[name] = value
			time.Sleep(10 * time.Second)
		}
		if err := f.Flush(); err == nil {
			t.Error("all that is in 64 KB")
		}
		wants(t, b, want)
		if log.count("cannot be kept on disk") != 1 || log.count("kept on disk again") != 0 {
			t.Errorf("told %s", log.buf.String())
		}
		f.bounded(t, 0)
		time.Sleep(2 * time.Minute)
		if log.count("cannot be kept on disk") != 1 || log.count("kept on disk again") != 1 || !f.soon().IsZero() {
			t.Errorf("told %s", log.buf.String())
		}
		closed(t, f)
		wants(t, open(t, path).Bucket("cache"), want)
	})
}

func TestADiskThatTakesNothingIsNotAskedAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, filepath.Join(t.TempDir(), "db"))
		f.bounded(t, 32<<10)
		asked := 0
		f.o.Key = func() ([]byte, error) { return key, nil }
		defer running(t, f)()
		for i := range 3600 {
			at, value := place{"cache", strconv.Itoa(i)}, make([]byte, 40<<10)
			f.mu.Lock()
			full := f.queue.size+at.cost(change{value: value}) > mostBytes
			f.mu.Unlock()
			f.Bucket(at.bucket).Put(at.name, value)
			time.Sleep(time.Second)
			synctest.Wait() // an attempt may be under way at this very moment
			// A queue that has just forgotten everything is one wipe, and there is
			// room for that if an attempt comes before the next change.
			if i > 60 && !full && f.soon().IsZero() {
				t.Fatal("what could not be written is gone")
			}
			f.mu.Lock()
			if len(f.queue.changes) < i {
				asked++
			}
			f.mu.Unlock()
		}
		// The bound of the queue is reached at 1634.
		if asked == 0 {
			t.Error("the queue has no bound")
		}
	})
}

func TestMoreThanIsKeptForgetsWhatMayBeOutOfDate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	f := open(t, path)
	log := &journal{}
	f.o.Log = logTo(log)
	b, big := f.Bucket("cache"), make([]byte, 1<<20)
	b.Put("old", []byte("1"))
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range mostBytes>>20 + 1 {
		b.Put(strconv.Itoa(i), big)
	}
	b.Put("new", []byte("2"))
	if got := content(b); got["old"] != "" || got["new"] != "2" || len(got) > 3 {
		t.Errorf("%d records", len(got))
	}
	closed(t, f)
	if got := content(open(t, path).Bucket("cache")); got["old"] != "" || got["new"] != "2" || len(got) > 3 {
		t.Errorf("%d records in the file", len(got))
	}
	if log.count("more is to be kept") != 1 {
		t.Errorf("told %s", log.buf.String())
	}
}

func TestAQueueThatCannotBeWrittenComesBackInOrder(t *testing.T) {
	at := func(name string) place { return place{"b", name} }
	put := func(v string) change { return change{value: []byte(v)} }
	var older, newer queue
	older.reset()
	newer.reset()
	older.clear("c")
	older.set(at("x"), put("old"))
	older.set(at("y"), put("old"))
	older.set(at("z"), change{gone: true})
	older.set(place{"c", "x"}, put("old"))
	newer.clear("c")
	newer.set(at("x"), put("new"))
	newer.set(at("y"), change{gone: true})
	newer.after(older)
	for name, want := range map[string]string{"x": "new", "y": "", "z": ""} {
		if c, known := newer.get(at(name)); !known || string(c.value) != want || c.gone != (want == "") {
			t.Errorf("%s: %+v %v", name, c, known)
		}
	}
	if c, known := newer.get(place{"c", "x"}); !known || !c.gone {
		t.Errorf("cleared: %+v %v", c, known)
	}
	if _, known := newer.get(at("w")); known {
		t.Error("what nobody changed is known")
	}
	size := newer.size
	for p := range newer.changes {
		newer.drop(p)
	}
	if newer.size != 0 || size == 0 {
		t.Errorf("an empty queue has %d bytes", newer.size)
	}
}

func TestAKeyThatIsReplacedSealsTheFileAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "db")
		var mu sync.Mutex
		now, fault := key, error(nil)
		log := &journal{}
		o := with(path, nil)
		o.Log = logTo(log)
		o.Key = func() ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			return now, fault
		}
		f, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		defer running(t, f)()
		f.Bucket("cache").Put("a", []byte("1"))
		time.Sleep(time.Minute)
		mu.Lock()
		fault = errors.New("it is being replaced")
		mu.Unlock()
		time.Sleep(time.Minute)
		mu.Lock()
		now, fault = other, nil
		mu.Unlock()
		time.Sleep(lookAtKey + time.Second)
		f.Bucket("cache").Put("b", []byte("2"))
		time.Sleep(time.Second)
		for i, c := range []struct {
			key  []byte
			want error
		}{{other, nil}, {key, ErrForeign}} {
			// As after a crash: the file as it is now.
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			copied := filepath.Join(dir, strconv.Itoa(i))
			write(t, copied, data)
			g, err := Open(with(copied, c.key))
			if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("%v", err)
			}
			if err == nil {
				wants(t, g.Bucket("cache"), map[string]string{"a": "1", "b": "2"})
			}
			closed(t, g)
		}
		if log.count("cannot be sealed") != 1 || log.count("the key of the kept answers is another") != 1 {
			t.Errorf("told %s", log.buf.String())
		}
	})
}

func TestWhoeverUsesAFileAtOnceGetsAlong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	f := open(t, path)
	stop := running(t, f)
	var crew sync.WaitGroup
	for worker := range 8 {
		crew.Go(func() {
			b := f.Bucket("bucket " + strconv.Itoa(worker%3))
			for i := range 200 {
				name := fmt.Sprintf("%d-%d", worker, i)
				b.Put(name, []byte(name))
				switch i % 50 {
				case 10:
					if err := f.Flush(); err != nil {
						t.Error(err)
					}
				case 20:
					b.Each(func(name string, value []byte) {
						if name != string(value) {
							t.Errorf("%s holds %s", name, value)
						}
						if name == fmt.Sprintf("%d-%d", worker, i-1) {
							b.Delete(name)
						}
					})
				}
			}
		})
	}
	crew.Wait()
	stop()
	closed(t, f)
	f = open(t, path)
	n := 0
	for i := range 3 {
		n += len(content(f.Bucket("bucket " + strconv.Itoa(i))))
	}
	if want := 8*200 - 8*4; n != want {
		t.Errorf("%d records, want %d", n, want)
	}
}

func BenchmarkPut(b *testing.B) {
	f := open(b, filepath.Join(b.TempDir(), "db"))
	bucket, value := f.Bucket("cache"), make([]byte, 1024)
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprintf("%064d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		bucket.Put(names[i%len(names)], value)
	}
}

// BenchmarkFile writes 10,000 records of 1 KB, opens the file again and reads
// them.
func BenchmarkFile(b *testing.B) {
	path := filepath.Join(b.TempDir(), "db")
	b.ReportAllocs()
	for b.Loop() {
		o := with(path, key)
		o.unsynced = false
		for _, write := range []bool{true, false} {
			f, err := Open(o)
			if err != nil {
				b.Fatal(err)
			}
			for i := range 10_000 {
				if write {
					f.Bucket("cache").Put(strconv.Itoa(i), make([]byte, 1024))
				}
			}
			if n := len(content(f.Bucket("cache"))); n != 10_000 {
				b.Fatal(n)
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
