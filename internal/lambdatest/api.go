//go:build linux

package lambdatest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Call is one that a process made of the platform.
type Call struct {
	At     time.Time // when it came
	Done   time.Time // when it was answered; zero while it waits
	From   string    // the extension's name, or "runtime"
	Name   string    // "register", "event/next", "init/error", "exit/error", "invocation/next", ...
	Event  string    // what event/next was answered: INVOKE or SHUTDOWN
	Status int
	Error  string // the type of the refusal
}

// answer is what a call is answered.
type answer struct {
	status int
	header map[string]string
	body   any // JSON; []byte as it is
	event  string
	error  string
}

func refuse(kind, format string, args ...any) answer {
	return answer{status: http.StatusForbidden, error: kind, body: map[string]string{
		"errorMessage": fmt.Sprintf(format, args...), "errorType": kind,
	}}
}

var accepted = answer{status: http.StatusAccepted, body: map[string]string{"status": "OK"}}

const notAllowed = "State transition is not allowed"

func wrongState(a *agent, to string) answer {
	return refuse("Extension.InvalidExtensionState", "State transition from %s to %s failed for extension %s. Error: %s", a.state, to, a.name, notAllowed)
}

func wrongRuntimeState(from, to string) answer {
	return refuse("InvalidStateTransition", "State transition from %s to %s failed for runtime. Error: %s", from, to, notAllowed)
}

// handler serves the APIs of the life that is.
func (p *Platform) handler() http.Handler {
	mux := http.NewServeMux()
	serve := func(pattern, name string, f func(*life, *http.Request) (from string, a answer)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, name, f) })
	}
	const ext, run = "/2020-01-01/extension/", "/2018-06-01/runtime/"
	serve("POST "+ext+"register", "register", (*life).register)
	serve("GET "+ext+"event/next", "event/next", identified((*life).eventNext))
	serve("POST "+ext+"init/error", "init/error", identified((*life).initError))
	serve("POST "+ext+"exit/error", "exit/error", identified((*life).exitError))
	serve("GET "+run+"invocation/next", "invocation/next", (*life).invocationNext)
	serve("POST "+run+"invocation/{id}/response", "invocation/response", (*life).invocationResponse)
	serve("POST "+run+"invocation/{id}/error", "invocation/error", (*life).invocationError)
	serve("POST "+run+"init/error", "runtime init/error", (*life).runtimeInitError)
	if p.o.InitType == SnapStart {
		serve("GET "+run+"restore/next", "restore/next", (*life).restoreNext)
		serve("POST "+run+"restore/error", "restore/error", (*life).runtimeInitError)
		serve("GET /2021-04-23/credentials", "credentials", (*life).credentials)
	}
	for _, path := range []string{"/2020-08-15/logs", "/2022-07-01/telemetry"} {
		serve("PUT "+path, "telemetry", func(*life, *http.Request) (string, answer) {
			return "", answer{status: http.StatusAccepted, body: map[string]string{
				"errorMessage": "Telemetry API is not supported", "errorType": "Telemetry.NotSupported",
			}}
		})
	}
	return mux
}

func (p *Platform) serve(w http.ResponseWriter, r *http.Request, name string, f func(*life, *http.Request) (string, answer)) {
	l := p.current()
	at := p.note(Call{At: time.Now(), Name: name})
	l.mu.Lock()
	before := l.calls[name]
	l.calls[name]++
	l.mu.Unlock()
	if p.o.Rude != nil {
		rude := p.o.Rude(name, before)
		if rude.Hold != nil {
			select {
			case <-rude.Hold:
			case <-l.done:
			}
		}
		if rude.Cut {
			panic(http.ErrAbortHandler)
		}
		if rude.Status != 0 {
			http.Error(w, http.StatusText(rude.Status), rude.Status)
			p.answered(at, "", answer{status: rude.Status})
			return
		}
	}
	if closed(l.done) {
		panic(http.ErrAbortHandler)
	}
	from, a := f(l, r)
	if a.status == 0 {
		panic(http.ErrAbortHandler) // the life ended meanwhile
	}
	l.mu.Lock()
	ending := l.ending // those that are being killed may be refused what they will
	l.mu.Unlock()
	p.answered(at, from, a)
	if a.status == http.StatusForbidden && from != fromRuntime && !ending {
		p.mu.Lock()
		p.refused = append(p.refused, fmt.Sprintf("%s by %q: %s (%v)", name, from, a.error, a.body))
		p.mu.Unlock()
	}
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	body, raw := a.body.([]byte)
	if !raw {
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/json")
		}
		body, _ = json.Marshal(a.body)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(body)
}

// identified finds out which extension calls.
func identified(f func(*life, *agent, *http.Request) answer) func(*life, *http.Request) (string, answer) {
	return func(l *life, r *http.Request) (string, answer) {
		id := r.Header.Get("Lambda-Extension-Identifier")
		switch {
		case id == "":
			return "", refuse("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
		case !isUUID(id):
			return "", refuse("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")
		}
		l.mu.Lock()
		for _, a := range l.agents {
			if strings.EqualFold(a.id, id) && !a.registeredAt.IsZero() {
				l.mu.Unlock()
				return a.name, f(l, a, r)
			}
		}
		l.mu.Unlock()
		return "", refuse("Extension.UnknownExtensionIdentifier", "Unknown extension %s", id)
	}
}

func (l *life) register(r *http.Request) (string, answer) {
	name := r.Header.Get("Lambda-Extension-Name")
	if name == "" {
		return "", refuse("Extension.InvalidExtensionName", "Empty extension name")
	}
	var ask struct {
		Events            []string `json:"events"`
		ConfigurationKeys []string `json:"configurationKeys"`
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &ask)
	}
	if err == nil && len(ask.ConfigurationKeys) > 0 {
		err = fmt.Errorf("configurationKeys are deprecated; use environment variables instead")
	}
	if err != nil {
		return name, refuse("InvalidRequestFormat", "%v", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a, refusal := l.called(name)
	if a == nil {
		return name, *refusal
	}
	for _, e := range ask.Events {
		known := e == "SHUTDOWN" && !a.internal || e == "INVOKE" && l.p.o.InitType != ManagedInstances
		if !known {
			return name, refuse("Extension.InvalidEventType", "%s: ErrorInvalidEventType", e)
		}
	}
	if a.state != started {
		return name, wrongState(a, registered)
	}
	if a.internal {
		l.agents = append(l.agents, a)
	}
	a.state, a.registeredAt = registered, time.Now()
	for _, e := range ask.Events {
		a.events[e] = true
	}
	l.changed()
	about := map[string]string{"functionName": functionName, "functionVersion": functionVersion, "handler": handlerName}
	for f := range strings.SplitSeq(r.Header.Get("Lambda-Extension-Accept-Feature"), ",") {
		if strings.TrimSpace(f) == "accountId" {
			about["accountId"] = accountID
		}
	}
	return name, answer{status: http.StatusOK, header: map[string]string{"Lambda-Extension-Identifier": a.id}, body: about}
}

// called is the agent with a name. One that no file in /opt/extensions has is of
// an internal extension, in the runtime's process, and so only while the
// runtime starts; before that it is a wrong name, where AWS's emulator would
// take it for an internal one all the same and wait for the file's for ever.
func (l *life) called(name string) (*agent, *answer) {
	for _, a := range l.agents {
		switch {
		case a.name == name && a.internal:
			r := refuse("Extension.InvalidExtensionState", "Extension with this name already registered")
			return nil, &r
		case a.name == name:
			return a, nil
		}
	}
	var r answer
	switch {
	case !l.runtime:
		r = refuse("Extension.InvalidExtensionName", "No extension in /opt/extensions is named %s", name)
	case !l.open:
		r = refuse("Extension.RegistrationClosed", "Extension registration closed already")
	case len(l.agents) >= maxExtensions:
		r = refuse("Extension.TooManyExtensions", "Extension limit (%d) reached", maxExtensions)
	default:
		return &agent{name: name, id: uuid(), internal: true, state: started, events: map[string]bool{}}, nil
	}
	return nil, &r
}

func (l *life) eventNext(a *agent, _ *http.Request) answer {
	l.mu.Lock()
	if !a.next() {
		defer l.mu.Unlock()
		return wrongState(a, ready)
	}
	wait := make(chan event, 1)
	a.parked, a.readyAt = wait, time.Now()
	if a.pending != nil {
		e := *a.pending
		a.pending = nil
		a.deliver(e)
	}
	l.changed()
	l.mu.Unlock()
	// One who hangs up stays ready, and the event is lost to him: that is why
	// event/next must be asked without a timeout.
	select {
	case e := <-wait:
		r := answer{status: http.StatusOK, body: e.body, event: e.body["eventType"].(string)}
		if e.id != "" {
			r.header = map[string]string{"Lambda-Extension-Event-Identifier": e.id}
		}
		return r
	case <-l.done:
		return answer{}
	}
}

func (l *life) initError(a *agent, r *http.Request) answer {
	return l.failed(a, r, initFailed, InitError)
}
func (l *life) exitError(a *agent, r *http.Request) answer {
	return l.failed(a, r, exitFailed, ExitError)
}

func (l *life) failed(a *agent, r *http.Request, state, kind string) answer {
	const header = "Lambda-Extension-Function-Error-Type"
	reported := r.Header.Get(header)
	if reported == "" {
		return refuse("Extension.MissingHeader", "%s not found", header)
	}
	body, _ := io.ReadAll(r.Body)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !a.fail(state) {
		return wrongState(a, state)
	}
	if a.reportedAs == "" {
		a.reportedAs, a.reportedFor = reported, string(body)
	}
	l.changed()
	return accepted
}
