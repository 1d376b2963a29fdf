// Package execwrap becomes a program with an environment in which references to
// secrets are the secrets, and in which nothing of latchkey's own is left.
//
// It fetches nothing itself: the extension, which has logged in, answers it over a
// socket. There is no shell anywhere. It links next to nothing, because the start of
// a function waits for it.
package execwrap

import (
	"os"
	"strings"
	"syscall"
)

// The exit codes; docs/references.md promises them. From the program itself comes
// whatever it ends with.
const (
	exitUsage  = 2
	exitNone   = 125 // there is no environment to start it with
	exitCannot = 126 // the system does not run it
	exitAbsent = 127 // there is no such program
)

// failure is why the program did not start.
type failure struct {
	code int
	text string
}

// Become becomes the program that argv names. Where that fails it has said why, in a
// line on stderr, when it returns the exit code.
func Become(argv, env []string) (code int) {
	f := start(argv, env)
	say(env, "ERROR", f.text)
	return f.code
}

// start becomes the program that argv names. It returns only where that fails.
func start(argv, env []string) failure {
	if len(argv) == 0 {
		return failure{exitUsage, "no program is named; with AWS_LAMBDA_EXEC_WRAPPER=/opt/latchkey-exec Lambda names the function's runtime"}
	}
	a, why := ask(lookup(env, "AWS_LAMBDA_RUNTIME_API"))
	if why == "" {
		why = a.Err
	}
	next, left := build(env, a)
	if why == "" && len(left) > 0 {
		why = "no value came for " + strings.Join(left, ", ") + ", which the extension does not see in its environment or does not know as a reference"
	}
	if why == "" {
		return become(argv, next)
	}
	if !strings.EqualFold(strings.TrimSpace(lookup(env, "LATCHKEY_FAIL")), "open") {
		return failure{exitNone, why}
	}
	say(env, "WARN", why+"; starting without the values, for LATCHKEY_FAIL is open")
	return become(argv, without(next, left))
}

// say writes a line for people to stderr, in the form that the function's log has.
func say(env []string, level, text string) {
	text = "latchkey-exec: " + text
	if strings.EqualFold(strings.TrimSpace(lookup(env, "AWS_LAMBDA_LOG_FORMAT")), "json") {
		text = `{"timestamp":"` + stamp(wall()) + `","level":"` + level + `","message":` + quoted(text) + `}`
	}
	_, _ = os.Stderr.WriteString(text + "\n")
}

// wall is the time of day in milliseconds: what is frozen has no other clock to
// trust. Package time is left out for its size.
func wall() int64 {
	var t syscall.Timeval
	_ = syscall.Gettimeofday(&t)
	return int64(t.Sec)*1000 + int64(t.Usec)/1000
}
