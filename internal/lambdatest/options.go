//go:build linux

package lambdatest

import (
	"path/filepath"
	"time"
)

// What AWS_LAMBDA_INITIALIZATION_TYPE may be.
const (
	OnDemand         = "on-demand"
	Provisioned      = "provisioned-concurrency"
	SnapStart        = "snap-start"
	ManagedInstances = "lambda-managed-instances"
)

// Freezer is how an environment is frozen between invocations.
type Freezer int

// The freezers. Stop is what can be had everywhere: SIGSTOP to each group, which
// a process sees when it is told SIGCONT. CGroup is what no process sees; it
// needs root.
const (
	Stop Freezer = iota
	CGroup
	None
)

// VCPU is the memory, in MB, with which a function has one vCPU.
const VCPU = 1769

// Options say what runs in the environment and how the platform treats it.
type Options struct {
	Extension string   // path of the extension's binary; none when empty
	Name      string   // its file name in /opt/extensions; that of the binary when empty
	Beside    []string // binaries of more extensions, by their own names
	Function  string   // path of the bootstrap
	Wrapper   string   // AWS_LAMBDA_EXEC_WRAPPER: what starts the bootstrap, which is its argument

	Env         []string    // what is configured for the function: NAME=value
	Credentials Credentials // of the role; Keys when empty
	Region      string      // us-east-1
	InitType    string      // on-demand
	Tmp         string      // a directory that stands for /tmp; the test's own when empty

	// Private gives the processes /tmp and /opt of their own, in a mount
	// namespace. The binaries are then found in /opt/extensions, /opt/bootstrap and
	// /opt/NAME-OF-WRAPPER. It needs unshare(1) and root, or user namespaces.
	Private bool

	Timeout       time.Duration // of an invocation, 3 s as Lambda's default
	InitLimit     time.Duration // 10 s; 130 s for provisioned-concurrency and snap-start
	ShutdownLimit time.Duration // 2 s
	Memory        int           // MB, 128; says nothing about CPU, which tests on a busy machine want all of
	CPU           float64       // share of one core by cgroup, such as 128./VCPU; 0 is no limit
	Concurrency   int           // of managed instances, 4
	Freezer       Freezer

	Trace    bool // INVOKE has a trace id
	Refusals bool // an extension is meant to be refused things

	// Started hears of each process when it has been started, by name as in PID.
	Started func(name string, pid int)

	// Rude is asked at each call of an API, such as "register" or "event/next", with
	// how often it was called before in this environment's life.
	Rude func(call string, before int) Rudeness
}

// Rudeness is how the platform misbehaves: with a status of its own, by cutting
// the connection, after something happened. The zero value is none.
type Rudeness struct {
	Status int
	Cut    bool
	Hold   <-chan struct{}
}

// Credentials are those of the function's role.
type Credentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	Expiration                                 time.Time // of those an endpoint gives out; in six hours when zero
}

// Keys are the credentials when nothing else is said.
var Keys = Credentials{
	AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", SessionToken: "session-token",
}

// The rest of what a function can be asked about itself.
const (
	functionName    = "latchkey-test"
	functionVersion = "$LATEST"
	handlerName     = "bootstrap"
	accountID       = "012345678912"
	logGroup        = "/aws/lambda/" + functionName
	maxExtensions   = 10
	maxPayload      = 6*1024*1024 + 100
	maxEnv          = 4096

	// runtimeShare is what the runtime has of a shutdown: 300 ms of 2 s.
	runtimeShare = 0.15
)

func (o Options) withDefaults(t TB) Options {
	or := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	if o.InitType == "" {
		o.InitType = OnDemand
	}
	limit := 10 * time.Second
	if o.InitType == Provisioned || o.InitType == SnapStart {
		limit = 130 * time.Second
	}
	or(&o.InitLimit, limit)
	or(&o.Timeout, 3*time.Second)
	or(&o.ShutdownLimit, 2*time.Second)
	if o.Memory == 0 {
		o.Memory = 128
	}
	if o.Concurrency == 0 {
		o.Concurrency = 4
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Credentials == (Credentials{}) {
		o.Credentials = Keys
	}
	if o.Name == "" && o.Extension != "" {
		o.Name = filepath.Base(o.Extension)
	}
	if o.Tmp == "" {
		o.Tmp = t.TempDir()
	}
	return o
}

// TB is what is needed of a test: a testing.TB, or a program that measures.
type TB interface {
	Helper()
	Name() string
	Cleanup(func())
	TempDir() string
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}
