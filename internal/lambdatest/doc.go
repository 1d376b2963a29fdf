// Package lambdatest is a Lambda to test against: the platform's side of the
// Runtime API and the Extensions API, with the real processes of an extension
// and a function below it. Linux only, as Lambda is.
//
// Start starts an execution environment as a cold start does, Invoke invokes
// the function, and between invocations everything is frozen. What a process
// may say when, what it is answered when it may not, and what becomes of the
// environment when it crashes, hangs or takes too long is as AWS documents it,
// and as AWS's own emulator does where the documents are silent: the states,
// the types of errors and the order of things were read there. Where the two
// differ from a real account the platform is the stricter one: an extension
// that is refused anything fails the test, unless Options.Refusals says that it
// is meant to be.
//
// No process outlives its test: each has a group of its own, which is killed at
// the end, and dies with the thread that started it when the test binary dies
// before that.
//
// A frozen environment wakes up at another time. Freezing stops the processes,
// not their clocks, so a test that wants an hour to have passed has two ways. It
// gives out leases of a second and waits for their end on the server; or it
// builds the program with BuildSkewed and moves its wall clock with Skew, which
// leaves the monotonic clock alone, as a frozen microVM does.
//
// StartEmulator runs the same environment on AWS's emulator, for cases that are
// run on both.
package lambdatest
