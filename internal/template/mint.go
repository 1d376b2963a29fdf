package template

import (
	"slices"
	"time"
)

// mint is a certificate that was issued and is not in all files yet that are to
// hold it. It is kept until it is, so that a file that cannot be written does not
// have another one issued, and certificate and key stay together.
type mint struct {
	cert    certificate
	missing map[*watched]bool
}

// minted notes a certificate that was just issued, and has all that use the same
// one join the round.
func (r *round) minted(key string, c certificate) {
	w := r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &mint{cert: c, missing: map[*watched]bool{}}
	w.mints[key] = m
	for _, j := range r.u.jobs {
		if !j.done && slices.ContainsFunc(j.pki, func(req Request) bool { return req.Key() == key }) {
			m.missing[j.watched] = true
		}
	}
	for _, st := range w.templates {
		if !st.certs[key] {
			continue
		}
		m.missing[st] = true
		if st.busy() {
			continue // in this round, or due as soon as its own is over
		}
		for _, tied := range st.together() {
			r.join(tied)
		}
	}
}

// others are the templates beside the askers that are known to use the same
// certificate: their files may hold what those of the askers do not.
func (r *round) others(req Request, askers []*job) []*job {
	w := r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	key := req.Key()
	var others []*job
	for _, st := range w.templates {
		if st.certs[key] && !slices.ContainsFunc(askers, func(j *job) bool { return j.watched == st }) {
			others = append(others, &job{t: st.t, pki: []Request{req}, value: st.value})
		}
	}
	return others
}

// certified notes which certificates a template holds now and when the first of
// them is to be replaced; mu is held.
func (w *Watch) certified(st *watched, j *job, at time.Time) {
	st.spentAt = time.Time{}
	for _, c := range j.inputs.certs {
		st.spentAt = earlier(st.spentAt, c.spent)
	}
	for key, m := range w.mints {
		if !m.missing[st] {
			continue
		}
		if c, uses := j.inputs.certs[key]; uses && c.pem.Cert != m.cert.pem.Cert {
			st.changeAt = at // it began before this one was issued
			continue
		}
		delete(m.missing, st)
		if len(m.missing) == 0 {
			delete(w.mints, key)
		}
	}
	if st.spentAt.IsZero() || st.spentAt.After(at.Add(time.Second)) {
		st.short = 0
		return
	}
	// Spent as soon as it was issued: its life is too short, or a clock is wrong.
	st.short++
	st.spentAt = at.Add(w.wait(st.short, nil))
}
