package cache

import (
	"strings"
	"sync/atomic"
)

// events remembers what was revoked or cleared of late. An answer that was under
// way meanwhile is older than that, and must not be kept.
type events struct {
	// count is how many there were so far.
	count atomic.Uint64
	ring  [512]event
}

// event is one thing that ended.
type event struct {
	what eventKind
	// text is a path without a slash at its end, a prefix, or a lease id.
	text  string
	token tokenID
}

type eventKind uint8

const (
	endOfAll    eventKind = iota
	endOfToken            // and what was made with it
	endOfLease            // with this id
	endOfDir              // all at a path and below
	endOfPrefix           // all whose path begins so
)

// since is the mark to compare with, to be taken before a request is sent.
func (f *family) since() uint64 { return f.events.count.Load() }

// note adds an event; the family is locked.
func (f *family) note(e event) {
	n := f.events.count.Load()
	f.events.ring[n%uint64(len(f.events.ring))] = e
	f.events.count.Store(n + 1)
}

// missed says whether anything that happened since a mark concerns a member that
// was made meanwhile with the token by. The family is locked.
func (f *family) missed(since uint64, m *member, by tokenID) bool {
	count, size := f.events.count.Load(), uint64(len(f.events.ring))
	if count-since > size {
		return true
	}
	for ; since < count; since++ {
		if e := f.events.ring[since%size]; e.concerns(m, by) {
			return true
		}
	}
	return false
}

func (e event) concerns(m *member, by tokenID) bool {
	switch e.what {
	case endOfToken:
		return e.token == by
	case endOfLease:
		return !m.isToken() && m.id == e.text
	case endOfDir:
		return inDir(m.path, e.text)
	case endOfPrefix:
		return strings.HasPrefix(m.path, e.text)
	}
	return true
}
