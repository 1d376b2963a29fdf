package template

import (
	"maps"
	"slices"
	"time"
)

// inputs takes over what a job used; mu is held. A template that failed keeps
// what it used before beside what it tried: its file is made of that still.
func (r *round) inputs(st *watched, j *job, at time.Time) {
	keys, certs, deps := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for key := range j.inputs.used {
		keys[key] = true
	}
	for _, req := range j.want {
		keys[req.Key()] = true
	}
	for key := range j.inputs.certs {
		certs[key] = true
	}
	for _, req := range j.pki {
		certs[req.Key()] = true
	}
	for _, d := range j.inputs.deps {
		if data, ok := r.u.brain.Recall(d); ok {
			deps[d.String()] = true
			r.learn(st, d, data, at)
		}
	}
	files := j.inputs.files
	if j.err != nil {
		for _, key := range st.keys {
			keys[key] = true
		}
		maps.Copy(certs, st.certs)
		for _, name := range st.deps {
			deps[name] = true
		}
		files = maps.Clone(st.files)
		if files == nil {
			files = map[string]stamp{}
		}
		maps.Copy(files, j.inputs.files)
	}
	for key := range keys {
		// What it used changed after it was asked for, and nobody knew then
		// that it would be used.
		if r.w.moved[key] > r.seq && st.changeAt.IsZero() {
			st.change(at)
		}
	}
	r.w.use(st, keys)
	st.certs, st.files = certs, files
	r.w.query(st, deps)
}

// use replaces the keys that a template uses.
func (w *Watch) use(st *watched, keys map[string]bool) {
	for _, key := range st.asking {
		w.unkept = w.unkept || !keys[key]
	}
	st.asking = nil
	old := st.keys
	if len(old) == len(keys) && !slices.ContainsFunc(old, func(key string) bool { return !keys[key] }) {
		return
	}
	w.unkept = true
	for _, key := range old {
		users := slices.DeleteFunc(w.users[key], func(u *watched) bool { return u == st })
		if len(users) == 0 {
			delete(w.users, key)
		} else {
			w.users[key] = users
		}
	}
	st.keys = slices.Collect(maps.Keys(keys))
	for _, key := range st.keys {
		w.users[key] = append(w.users[key], st)
	}
}

// asking registers what the jobs are about to ask, so that a Retain meanwhile
// does not drop the answers.
func (r *round) asking(jobs []*job) {
	w := r.w
	w.keeping.Lock()
	defer w.keeping.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range jobs {
		for _, req := range j.want {
			j.watched.asking = append(j.watched.asking, req.Key())
		}
	}
}

// retain tells the Source what is in use, if that is not what it was told last.
func (w *Watch) retain() {
	w.keeping.Lock()
	defer w.keeping.Unlock()
	w.mu.Lock()
	if !w.unkept {
		w.mu.Unlock()
		return
	}
	w.unkept = false
	keys := make(map[string]bool, len(w.users))
	for key := range w.users {
		keys[key] = true
	}
	for _, st := range w.templates {
		for _, key := range st.asking {
			keys[key] = true
		}
	}
	w.mu.Unlock()
	w.source.Retain(keys)
}
