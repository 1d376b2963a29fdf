package template

import (
	"io/fs"
	"log/slog"
	"time"

	"latchkey/internal/environ"
)

// Spec is one template as the configuration has it.
type Spec struct {
	// Name is how messages call it, with its place in the configuration:
	// "template at agent.hcl:12".
	Name string

	// Exactly one of Source (a file), Contents (the text itself) and Secret
	// (a path, with Format) says what is rendered.
	Source   string
	Contents string
	Secret   string
	// Format of a Secret is "json", "dotenv" or "yaml".
	Format string

	// Destination is a file, Variable the name of an environment variable of the
	// supervised process; exactly one is given. A template with a Variable writes
	// no file: its output is in Outcome.Value.
	Destination string
	Variable    string
	// CreateDestDirs makes missing parents with mode 0755; without it a
	// missing parent is ErrWrite.
	CreateDestDirs bool
	// Perms is nil to keep the mode of the file that is there, else 0644.
	Perms *fs.FileMode
	// User and Group are names or decimal ids; empty keeps what is there.
	User, Group string
	// Backup keeps the previous file as "<destination>.bak".
	Backup bool

	// ErrorOnMissingKey makes a key that is not in a secret an error; without
	// it "<no value>" is rendered.
	ErrorOnMissingKey bool
	// ErrorFatal false keeps every failure of this template out of Render's
	// error; it is in the Report all the same.
	ErrorFatal bool

	// LeftDelimiter and RightDelimiter are "{{" and "}}" when empty.
	LeftDelimiter, RightDelimiter string
	// SandboxPath is the directory that the file function may not leave.
	SandboxPath string
	// FunctionDenylist holds names of functions, globs allowed ("sprig_*").
	FunctionDenylist []string

	// Exec runs after the file changed; nil for nothing.
	Exec *Exec
	// Wait holds changes back in a Watch; nil for not at all.
	Wait *Wait
}

// Wait holds a change back until no other has come for Min, at most for Max. The
// first render never waits.
type Wait struct {
	Min, Max time.Duration
}

// Exec is the command of a template.
type Exec struct {
	// Command is as in Command.Argv.
	Command     []string
	Timeout     time.Duration
	KillSignal  string
	KillTimeout time.Duration
	// Splay has a Watch wait a random time up to this one before the command;
	// Render does not wait.
	Splay time.Duration

	// Env says what the command gets of Options.Env.
	Env environ.Rules
}

// Options is what all templates of a Set share.
type Options struct {
	// Env is the whole environment, as NAME=value: for the env functions, for
	// commands, and for the addresses and tokens of Consul and Nomad.
	Env []string
	// Log hears what was written and what was not; nil for silence.
	Log *slog.Logger
	// Runner runs commands; needed when a Spec has one.
	Runner Runner
	// RenewThreshold is the share of its life after which pkiCert replaces a
	// certificate that it finds, 0.90 when 0.
	RenewThreshold float64
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.RenewThreshold <= 0 || o.RenewThreshold >= 1 {
		o.RenewThreshold = 0.90
	}
	return o
}
