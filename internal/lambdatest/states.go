//go:build linux

package lambdatest

import "time"

// The states of an extension and of the runtime, by the names that the
// platform's refusals use.
const (
	started        = "Started"
	registered     = "Registered"
	ready          = "Ready"
	running        = "Running"
	initFailed     = "InitError"
	exitFailed     = "ExitError"
	exited         = "Exited"
	shutdownFailed = "ShutdownFailed"
	launchFailed   = "LaunchError"

	restoreReady = "RestoreReady"
	restoring    = "Restoring"
	responding   = "InvocationResponse"
	failing      = "InvocationErrorResponse"
	responded    = "RuntimeResponseSentState"
)

// agent is an extension as the platform sees it. Its fields belong to the lock
// of its life.
type agent struct {
	name     string
	id       string
	internal bool // in the runtime's process
	state    string
	events   map[string]bool
	proc     *process

	parked  chan event // its waiting event/next
	pending *event     // for its next one

	registeredAt, readyAt   time.Time
	reportedAs, reportedFor string // Lambda-Extension-Function-Error-Type and the body of its report
}

// event is what event/next is answered.
type event struct {
	id   string
	body map[string]any
}

// deliver gives the agent an event: at once when it waits, else when it asks.
func (a *agent) deliver(e event) {
	if a.parked == nil {
		a.pending = &e
		return
	}
	a.parked <- e
	a.parked = nil
	a.state = running
}

// next is the state's answer to event/next; what says whether it may.
func (a *agent) next() bool {
	if a.state != registered && a.state != running {
		return false
	}
	a.state = ready
	return true
}

// fail is the state's answer to init/error and exit/error.
func (a *agent) fail(to string) bool {
	switch {
	case a.state == to:
		return true
	case to == initFailed && a.state == registered,
		to == exitFailed && (a.state == registered || a.state == ready || a.state == running):
		a.state = to
		return true
	}
	return false
}

// over says that nothing is to be waited for from the agent any more.
func (a *agent) over() bool {
	switch a.state {
	case initFailed, exitFailed, exited, shutdownFailed, launchFailed:
		return true
	}
	return false
}

// invocation is one that the runtime has or will get.
type invocation struct {
	id       string
	payload  []byte
	headers  map[string]string
	taken    bool
	answered bool
	response []byte
	failure  *Fault // the function's own, or the platform's
}

// worker is the function's process as the platform sees it.
type worker struct {
	proc    *process
	state   string
	parked  []chan *invocation // its waiting invocation/next; one, but in managed instances
	current map[string]*invocation

	restore chan struct{} // its waiting restore/next

	readyAt time.Time
}
