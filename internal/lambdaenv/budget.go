package lambdaenv

import (
	"strconv"
	"time"
)

const (
	// usualBudget leaves a start on demand time for the function's own code, openBudget
	// so much that it starts in any case.
	usualBudget = 8 * time.Second
	openBudget  = 4 * time.Second
	// demand and ahead are Lambda's limits, with a little room to say what was
	// wrong: ten seconds on demand, 130 for what is started before it is needed.
	demand = 9500 * time.Millisecond
	ahead  = 125 * time.Second
)

// cacheBytes is how much memory the cache may take, at most what it takes elsewhere.
func (r *reader) cacheBytes() int64 {
	mb, err := strconv.Atoi(r.env["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"])
	if err != nil || mb < 8 {
		mb = 128 // the least there is
	}
	return int64(min(mb/8, 256)) << 20
}

// initBudget settles how long the start may take.
func (r *reader) initBudget(wanted *time.Duration) {
	s := r.s
	if s.InitType = r.env["AWS_LAMBDA_INITIALIZATION_TYPE"]; s.InitType == "" {
		s.InitType = OnDemand
	}
	s.InitBudget = usualBudget
	if s.FailOpen && s.InitType == OnDemand {
		s.InitBudget = openBudget
	}
	switch {
	case wanted != nil && *wanted == 0:
		r.refuse("LATCHKEY_INIT_BUDGET", "must be more than 0", "")
	case wanted != nil:
		s.InitBudget = *wanted
	}
	most := ahead
	if s.InitType == OnDemand {
		most = demand
	}
	// The emulator starts an extension inside the first invocation.
	if sec, err := strconv.Atoi(r.env["AWS_LAMBDA_FUNCTION_TIMEOUT"]); err == nil && sec > 0 && s.InitType == OnDemand {
		limit := time.Duration(min(sec, 900)) * time.Second
		most = min(most, limit-limit/10)
	}
	s.InitBudget = min(s.InitBudget, most)
}
