package persist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// bbolt maps its file into memory and believes what stands there: a page number
// that is too large is a fault that ends the process, and a count that is too
// large may be all of the memory. So the whole tree is looked at with plain reads
// before bbolt sees it, more strictly than bbolt does: what is not exactly as a
// commit leaves it is damaged.

// The layout of bbolt's pages, version 2, in the byte order of the machine.
const (
	boltMagic, boltVersion = 0xED0CDAED, 2

	pageHeader  = 16 // id, flags, count, overflow
	element     = 16
	bucketEntry = 16 // root, sequence

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	leastPage, mostPage = 1 << 10, 1 << 16
	deepest             = 64
)

var native = binary.NativeEndian

// damage is what is wrong with a file.
func damage(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, a...)...)
}

// meta is one of the two pages that say where the tree begins.
type meta struct {
	pageSize             int64
	root, freelist, high uint64
	txid                 uint64
}

// inspection is what is known of a file while it is looked at.
type inspection struct {
	f    io.ReaderAt
	size int64
	meta meta
	// seen are the pages that are in use, or free.
	seen []bool
}

// verify reports what is wrong with the file of a bbolt database, as an
// ErrDamaged; another error is the reader's. It reads every page in use once.
func verify(f io.ReaderAt, size int64) error {
	in := &inspection{f: f, size: size}
	if err := in.metas(); err != nil {
		return err
	}
	in.seen = make([]bool, in.meta.high)
	in.seen[0], in.seen[1] = true, true
	if err := in.tree(in.meta.root, nil, nil, 0, in.bucket); err != nil {
		return err
	}
	if err := in.free(); err != nil {
		return err
	}
	for id, ok := range in.seen {
		if !ok {
			return damage("page %d belongs to nothing", id)
		}
	}
	return nil
}

// metas finds the newer of the two. Each commit writes one of them, so that they
// are one commit apart.
func (in *inspection) metas() error {
	first, err := in.metaAt(0)
	if err != nil {
		return err
	}
	second, err := in.metaAt(first.pageSize)
	if err != nil {
		return err
	}
	if first.txid > second.txid {
		first, second = second, first
	}
	if first.pageSize != second.pageSize || second.txid != first.txid+1 {
		return damage("its two heads do not belong together")
	}
	if second.high < 4 || second.high > uint64(in.size/second.pageSize) {
		return damage("it has %d bytes, and should have %d pages", in.size, second.high)
	}
	in.meta = second
	return nil
}

func (in *inspection) metaAt(off int64) (meta, error) {
	var b [pageHeader + 64]byte
	if err := in.read(b[:], off); err != nil {
		return meta{}, err
	}
	m := b[pageHeader:]
	sum := fnv.New64a()
	_, _ = sum.Write(m[:56])
	switch {
	case native.Uint32(m) != boltMagic, native.Uint32(m[4:]) != boltVersion:
		return meta{}, damage("it is no database of this kind")
	case sum.Sum64() != native.Uint64(m[56:]):
		return meta{}, damage("the checksum of a head is wrong")
	}
	size := int64(native.Uint32(m[8:]))
	if size < leastPage || size > mostPage || size&(size-1) != 0 {
		return meta{}, damage("pages of %d bytes", size)
	}
	return meta{
		pageSize: size, root: native.Uint64(m[16:]), freelist: native.Uint64(m[32:]),
		high: native.Uint64(m[40:]), txid: native.Uint64(m[48:]),
	}, nil
}

func (in *inspection) read(b []byte, off int64) error {
	n, err := in.f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return damage("it ends in the middle of a page")
	}
	return err
}

// page reads a page with what it flows over into, and takes note of it.
func (in *inspection) page(id uint64) ([]byte, error) {
	if id < 2 || id >= in.meta.high {
		return nil, damage("there is no page %d", id)
	}
	var head [pageHeader]byte
	off := int64(id) * in.meta.pageSize
	if err := in.read(head[:], off); err != nil {
		return nil, err
	}
	more := uint64(native.Uint32(head[12:]))
	if native.Uint64(head[:]) != id || more >= in.meta.high-id {
		return nil, damage("page %d says that it is page %d, and %d more", id, native.Uint64(head[:]), more)
	}
	for i := id; i <= id+more; i++ {
		if in.seen[i] {
			return nil, damage("page %d is used twice", i)
		}
		in.seen[i] = true
	}
	b := make([]byte, int64(1+more)*in.meta.pageSize)
	return b, in.read(b, off)
}

// tree looks at the page with this number and all below it. Its keys are at least
// least and less than limit, nil for no bound. each gets every element of a leaf.
func (in *inspection) tree(id uint64, least, limit []byte, depth int, each func(flags uint32, key, value []byte) error) error {
	if depth > deepest {
		return damage("it is too deep")
	}
	b, err := in.page(id)
	if err != nil {
		return err
	}
	if flags := native.Uint16(b[8:]); flags == leafPage {
		return leaf(b, least, limit, each)
	} else if flags != branchPage {
		return damage("page %d is of kind %#x", id, flags)
	}
	n := int(native.Uint16(b[10:]))
	if n == 0 || pageHeader+n*element > len(b) {
		return damage("page %d has %d branches", id, n)
	}
	keys, ids := make([][]byte, n+1), make([]uint64, n)
	for i := range n {
		at := pageHeader + i*element
		e := b[at:]
		if keys[i], err = part(b, at, n, uint64(native.Uint32(e)), uint64(native.Uint32(e[4:]))); err != nil {
			return err
		}
		ids[i] = native.Uint64(e[8:])
	}
	keys[n] = limit
	for i := range n {
		if outOfOrder(keys[i], least, keys[i+1], i < n-1 || limit != nil) {
			return damage("page %d is not in order", id)
		}
		if err := in.tree(ids[i], keys[i], keys[i+1], depth+1, each); err != nil {
			return err
		}
		least = keys[i]
	}
	return nil
}

// outOfOrder reports whether a key is less than least, or not less than limit
// where that is bound.
func outOfOrder(key, least, limit []byte, bound bool) bool {
	return bytes.Compare(key, least) < 0 || bound && bytes.Compare(key, limit) >= 0
}

// leaf looks at a page of elements, which may stand alone or in an element.
func leaf(b, least, limit []byte, each func(flags uint32, key, value []byte) error) error {
	n := int(native.Uint16(b[10:]))
	if pageHeader+n*element > len(b) {
		return damage("a page has %d elements", n)
	}
	var last []byte
	for i := range n {
		at := pageHeader + i*element
		e := b[at:]
		pos, ksize, vsize := uint64(native.Uint32(e[4:])), uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
		both, err := part(b, at, n, pos, ksize+vsize)
		if err != nil {
			return err
		}
		key := both[:ksize]
		if ksize == 0 || outOfOrder(key, least, limit, limit != nil) || i > 0 && bytes.Compare(last, key) >= 0 {
			return damage("elements are not in order")
		}
		last = key
		if err := each(native.Uint32(e), key, both[ksize:]); err != nil {
			return err
		}
	}
	return nil
}

// part is what an element at at, of n, says is its own: length bytes from pos on,
// counted from the element.
func part(b []byte, at, n int, pos, length uint64) ([]byte, error) {
	from := uint64(at) + pos
	if from < uint64(pageHeader+n*element) || from+length > uint64(len(b)) {
		return nil, damage("an element is outside of its page")
	}
	return b[from : from+length], nil
}

// bucket looks at an element of the topmost tree, which is a tree itself, or an
// element of such a tree, which is a record.
func (in *inspection) bucket(flags uint32, _, value []byte) error {
	if flags != 1 || len(value) < bucketEntry {
		return damage("something that is no bucket stands among the buckets")
	}
	record := func(flags uint32, _, _ []byte) error {
		if flags != 0 {
			return damage("a bucket stands among records")
		}
		return nil
	}
	if root := native.Uint64(value); root != 0 {
		return in.tree(root, nil, nil, 0, record)
	}
	if inline := value[bucketEntry:]; len(inline) >= pageHeader && native.Uint16(inline[8:]) == leafPage {
		return leaf(inline, nil, nil, record)
	}
	return damage("a small bucket has no elements")
}

// free looks at the list of pages that are free, which nothing else may use.
func (in *inspection) free() error {
	b, err := in.page(in.meta.freelist)
	if err != nil {
		return err
	}
	n, ids := uint64(native.Uint16(b[10:])), b[pageHeader:]
	if native.Uint16(b[8:]) != freelistPage {
		return damage("there is no list of free pages")
	}
	if n == 0xFFFF {
		n, ids = native.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids)/8) {
		return damage("%d free pages are more than their list holds", n)
	}
	for i := range n {
		id := native.Uint64(ids[i*8:])
		if id < 2 || id >= in.meta.high || in.seen[id] {
			return damage("page %d is not free", id)
		}
		in.seen[id] = true
	}
	return nil
}
