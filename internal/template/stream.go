package template

import (
	"context"
	"sync"
)

// stream reads what the jobs want and takes each job further as soon as the
// last of its answers is there: it is evaluated once more, and written if that
// completes it, while other answers are on their way. It returns the jobs that
// it left to the caller, who settles them in the ordinary way.
func (u *run) stream(ctx context.Context, s Streamer, reqs []Request, jobs []*job) (left []*job) {
	waiting := map[string][]*job{} // by Request.Key
	missing := map[*job]int{}
	alone := u.alone()
	for _, j := range jobs {
		if !alone[j] || len(j.pki) > 0 {
			left = append(left, j)
			continue
		}
		asked := map[string]bool{}
		for _, req := range j.want {
			key := req.Key()
			if _, known := u.answers[key]; !known && !asked[key] {
				asked[key] = true
				waiting[key] = append(waiting[key], j)
				missing[j]++
			}
		}
		if missing[j] == 0 {
			left = append(left, j)
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, writers)
	s.ReadEach(ctx, reqs, func(i int, res Result) {
		key := reqs[i].Key()
		u.answers[key] = answered(res)
		for _, j := range waiting[key] {
			if missing[j]--; missing[j] > 0 {
				continue
			}
			if u.settle(j, nil); j.done {
				continue
			}
			for _, complete := range u.evaluate([]*job{j}) {
				slots <- struct{}{}
				wg.Go(func() {
					defer func() { <-slots }()
					u.writeJob(complete)
				})
			}
		}
	})
	return left
}

// alone tells the jobs whose destination nobody else writes to. Where a
// template names further files, which these are is known only when it is
// complete, so nothing is written out of turn at all.
func (u *run) alone() map[*job]bool {
	times := map[string]int{}
	for _, j := range u.jobs {
		if j.t.text != nil && j.t.text.sides {
			return nil
		}
		times[j.t.path()]++
	}
	alone := map[*job]bool{}
	for _, j := range u.jobs {
		alone[j] = times[j.t.path()] == 1 || j.t.path() == ""
	}
	return alone
}
