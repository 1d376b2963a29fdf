package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// patience is how long who was told that the token is invalid waits for another.
const patience = 10 * time.Second

// flight is one request under way, for whoever asks the same meanwhile.
type flight struct {
	done chan struct{}
	res  cred.Result
	// left says that who asked went away before there was an answer. Without that
	// and without a result, the answer is what is held.
	left bool
	// keeps is the entry for which Keep asks, whether for another answer or
	// whether the one there is still holds; nil when somebody else asks.
	keeps *entry
}

// board begins the flight of an entry that Keep asks for, unless there is one. The
// lock is held.
func (m *Manager) board(e *entry) {
	if f := m.flights[e.key]; f == nil || f.keeps != e {
		m.flights[e.key] = &flight{done: make(chan struct{}), keeps: e}
	}
}

// arrive ends it, if there is one. The lock is held.
func (m *Manager) arrive(e *entry, res cred.Result, left bool) {
	if f := m.flights[e.key]; f != nil && f.keeps == e {
		delete(m.flights, e.key)
		f.res, f.left = res, left
		close(f.done)
	}
}

// wish is one request of a call and the places where its answer goes.
type wish struct {
	req cred.Request
	key string
	at  []int
	// res is the last answer, and era the one of who asked.
	res cred.Result
	era int
	// held is what is known already.
	held answer
}

// ReadAll answers the requests in their order and waits for all of them. What is
// held is answered from memory, and each further thing is asked for once, whoever
// asks meanwhile; a failure is not held. Before the first Use it waits for that.
// An answer that the token is invalid waits some seconds for the next one and
// asks once more. While the server is in trouble, a request may be refused at once
// with the failure of another; its RetryAfter says for how long.
func (m *Manager) ReadAll(ctx context.Context, reqs []cred.Request) []cred.Result {
	out := make([]cred.Result, len(reqs))
	m.ReadEach(ctx, reqs, func(i int, res cred.Result) { out[i] = res })
	return out
}

// ReadEach is ReadAll that hands over each answer as it arrives: each is called
// once for every request, with its index, and never twice at a time.
func (m *Manager) ReadEach(ctx context.Context, reqs []cred.Request, each func(i int, res cred.Result)) {
	var turn sync.Mutex
	give := func(w *wish) {
		turn.Lock()
		defer turn.Unlock()
		for _, i := range w.at {
			each(i, w.res)
		}
	}
	wishes := collect(reqs)
	era, err := 0, m.await(ctx, 0)
	for asked := false; len(wishes) > 0 && err == nil; {
		again, refused := m.attempt(ctx, wishes, give)
		wishes = again
		if !asked && len(refused) > 0 {
			asked = true
			for _, w := range refused {
				era = max(era, w.era)
			}
			short, cancel := context.WithTimeout(ctx, patience)
			if late := m.await(short, era); late == nil {
				refused, wishes = nil, append(wishes, refused...)
			}
			cancel()
		}
		for _, w := range refused {
			give(w)
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	for _, w := range wishes {
		w.res = cred.Result{Err: fmt.Errorf("%s: not asked: %w", w.req, err)}
		give(w)
	}
}

// collect makes one wish of all requests that are the same.
func collect(reqs []cred.Request) []*wish {
	var wishes []*wish
	byKey := make(map[string]*wish, len(reqs))
	for i, req := range reqs {
		key := req.Key()
		w := byKey[key]
		if w == nil {
			w = &wish{req: req, key: key}
			byKey[key] = w
			wishes = append(wishes, w)
		}
		w.req.Fresh = w.req.Fresh || req.Fresh
		w.at = append(w.at, i)
	}
	return wishes
}

// await waits for an identity of a later era.
func (m *Manager) await(ctx context.Context, era int) error {
	for {
		m.mu.Lock()
		now, arrival := m.era, m.arrival
		m.mu.Unlock()
		if now > era {
			return nil
		}
		select {
		case <-arrival:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// attempt answers what it can. It returns what has to be asked again, because
// somebody else asked for it and did not wait, and, with the answer, what was
// refused because the server does not know the token.
func (m *Manager) attempt(ctx context.Context, wishes []*wish, give func(*wish)) (again, refused []*wish) {
	var known, lead []*wish
	joined := map[*wish]*flight{}
	now := cred.Wall(time.Now())
	m.mu.Lock()
	for _, w := range wishes {
		if w.era = m.era; !w.req.Fresh {
			if err := m.refused.standing(w.key, now); err != nil {
				w.res = cred.Result{Err: err}
				known = append(known, w)
				continue
			}
			e, f := m.entries[w.key], m.flights[w.key]
			if e == nil && f != nil && f.keeps != nil {
				// It was dropped while it was fetched, and is wanted again.
				e = f.keeps
				m.entries[w.key] = e
			}
			switch {
			case e != nil && e.good(now):
				w.held, w.res = e.answer, cred.Result{}
				known = append(known, w)
				continue
			case f != nil:
				joined[w] = f
				continue
			}
			m.flights[w.key] = &flight{done: make(chan struct{})}
		}
		lead = append(lead, w)
	}
	m.mu.Unlock()
	for _, w := range known {
		if w.res.Err == nil {
			w.res = cred.Result{Secret: w.held.secret()}
		}
		give(w)
	}
	var mu sync.Mutex
	put := func(list *[]*wish, w *wish) {
		mu.Lock()
		defer mu.Unlock()
		*list = append(*list, w)
	}
	settled := func(w *wish) {
		if errors.Is(w.res.Err, vault.ErrInvalidToken) {
			put(&refused, w)
			return
		}
		give(w)
	}
	var wg sync.WaitGroup
	wg.Go(func() { m.lead(ctx, lead, settled) })
	for w, f := range joined {
		wg.Go(func() {
			select {
			case <-f.done:
				if w.res = m.shared(w.key, f); f.left || w.res.Secret == nil && w.res.Err == nil {
					put(&again, w)
					return
				}
			case <-ctx.Done():
				w.res = cred.Result{Err: fmt.Errorf("%s: %w", w.req, context.Cause(ctx))}
			}
			settled(w)
		})
	}
	wg.Wait()
	return again, refused
}

// shared is what a flight brought for one who joined it: a copy where it is held.
func (m *Manager) shared(key string, f *flight) cred.Result {
	var held answer
	m.mu.Lock()
	e := m.entries[key]
	has := e != nil && e.has
	if has {
		held = e.answer
	}
	m.mu.Unlock()
	if has && f.res.Err == nil {
		return cred.Result{Secret: held.secret()}
	}
	return f.res
}

// lead asks for what nobody else asks for. While the server is in trouble it
// asks for one thing, and for the rest when that went well.
func (m *Manager) lead(ctx context.Context, wishes []*wish, settled func(*wish)) {
	for len(wishes) > 0 {
		now := cred.Wall(time.Now())
		m.mu.Lock()
		id, era, epoch := m.id, m.era, m.gate.epoch
		shut := m.gate.shut(now)
		part, probe := len(wishes), m.gate.failures > 0 && shut == nil
		if probe {
			part = 1
			m.gate.busy++
		}
		m.mu.Unlock()
		if shut != nil {
			for _, w := range wishes {
				m.land(w, cred.Result{Err: fmt.Errorf("%s: %w", w.req, shut)}, false)
				settled(w)
			}
			return
		}
		reqs := make([]cred.Request, part)
		for i, w := range wishes[:part] {
			reqs[i] = w.req
		}
		id.ReadEach(ctx, reqs, func(i int, res cred.Result) {
			w := wishes[i]
			left := res.Err != nil && ctx.Err() != nil
			var c content
			if res.Err == nil && !w.req.Fresh {
				if c, res.Err = pack(res.Secret); res.Err != nil {
					res.Secret = nil
				}
			}
			m.mu.Lock()
			if probe {
				m.gate.busy--
			}
			if !left {
				m.arrived(w, c, res.Err, era, ownerOf(id), epoch)
			}
			m.mu.Unlock()
			m.land(w, res, left)
			settled(w)
		})
		wishes = wishes[part:]
	}
}

// arrived takes note of an answer that somebody asked for. The lock is held.
func (m *Manager) arrived(w *wish, c content, err error, era int, owner string, epoch int) {
	now := cred.Wall(time.Now())
	e := m.entries[w.key]
	if err == nil {
		m.gate.relieve(epoch)
	} else {
		m.gate.blame(now, err, epoch, w.key)
	}
	if !w.req.Fresh {
		m.refused.note(w.key, err, now)
	}
	switch {
	case w.req.Fresh:
		return
	case err == nil && e == nil:
		e = &entry{slot: slot{index: away}, key: w.key, req: w.req}
		m.take(e, c, era, owner, now)
		m.entries[w.key] = e
		m.count()
	case err == nil:
		m.take(e, c, era, owner, now)
	case e == nil:
		return
	case e.term.kind == static:
		m.failed(e, look, err, now)
	default:
		m.failed(e, fetch, err, now)
	}
	m.queue.put(e)
	m.nudge()
}

// land ends the flight of a wish, if it has one.
func (m *Manager) land(w *wish, res cred.Result, left bool) {
	w.res = res
	if w.req.Fresh {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.flights[w.key]
	delete(m.flights, w.key)
	f.res, f.left = res, left
	close(f.done)
	if e := m.entries[w.key]; e != nil && e.index == away {
		// It was due while it was under way.
		m.queue.put(e)
		m.nudge()
	}
}
