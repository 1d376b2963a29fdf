package cache

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// idle keeps nothing alive.
type idle struct{ kinLeases }

func (*idle) Hold(Held)   {}
func (*idle) Drop(string) {}

// What the family knows of a lease comes on top of what its answer takes.
func TestTheFamilyOfManyLeasesIsSmall(t *testing.T) {
	const many = 100_000
	k := newKin(t, func(o *Options) { o.Leases, o.Store = &idle{}, nil })
	k.adopt("default", "ours")
	f := &k.c.family
	ids := make([]string, many)
	for i := range ids {
		ids[i] = fmt.Sprintf("database/creds/app%d/QgdDJArttHHCVAc1InqEYPJ2", i)
	}
	used := heap()
	parent := f.lent["default"]
	for i, id := range ids {
		_, path := leasePlace(place{path: id[:len(id)-25]}, id)
		m := &member{id: id, path: path, issued: now().UnixNano(), length: int64(time.Hour), renewable: true}
		f.lock()
		f.enter(m, parent)
		f.serve(m, Key{byte(i), byte(i >> 8), byte(i >> 16)})
		f.hold(m)
		f.unlock()
	}
	each := (heap() - used) / many
	if each > 400 {
		t.Errorf("%d bytes for each lease", each)
	}
	start := time.Now()
	k.c.clear(clearing{Type: "all"})
	t.Logf("%d bytes for each lease; all were ended in %s", each, time.Since(start))
	runtime.KeepAlive(ids)
	k.kept()
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
