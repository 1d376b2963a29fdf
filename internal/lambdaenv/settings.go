// Package lambdaenv reads what the environment of a Lambda function says to the
// extension: the variables of vault-lambda-extension, those of the Vault client,
// and latchkey's own.
//
// It reads nothing itself, the environment is handed in. A value that makes no sense
// is refused by the variable's name, all of them at once, before anything else
// happens: a function that starts with half of what it was told is worse than one
// that does not start. Every variable stands in one table, table.go, which
// docs/lambda-environment.md is written from.
package lambdaenv

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"latchkey/internal/config"
)

// Settings are the environment, understood.
type Settings struct {
	// File is what a configuration file would say: vault, auto_auth, one listener.
	// With Config set it is nil: see Over.
	File *config.File
	// Files and Proxy are the run mode.
	Files, Proxy bool
	// Secrets are sorted by name; none without Files.
	Secrets []Secret
	// FileMode and DirMode are those of files, and of directories that are made for
	// them.
	FileMode, DirMode fs.FileMode
	// Refresh is how often a secret without a lease is read again, 0 for never.
	Refresh time.Duration
	// Grace is how long before its end a token counts as over.
	Grace time.Duration
	// CacheTTL is how long an answer is kept that is asked for with
	// X-Vault-Cache-Control, or, with CacheEvery, any; 0 keeps none.
	CacheTTL   time.Duration
	CacheEvery bool
	// CacheBytes is how much memory these answers may take: an eighth of the
	// function's.
	CacheBytes int64
	// FailOpen lets the function start when its secrets are not there.
	FailOpen bool
	// InitBudget is how long the start may take, never more than the platform grants.
	InitBudget time.Duration
	// Attempt bounds one request that the extension makes for itself, 0 for what
	// File says.
	Attempt time.Duration
	// InitType is AWS_LAMBDA_INITIALIZATION_TYPE, "on-demand" when it is not set.
	InitType string
	// InitLogin has a function under SnapStart log in before its snapshot is taken.
	InitLogin bool
	// Revoke has the token revoked at shutdown.
	Revoke bool
	// LogLevel may be LogOff.
	LogLevel slog.Level
	LogJSON  bool
	// Config is LATCHKEY_CONFIG: a path, or the configuration itself.
	Config string
	// Listen is where the proxy listens: host:port, or the path of a unix socket.
	Listen string
	// EnvKeep are names that latchkey-exec leaves in the function's environment.
	EnvKeep []string
	// Origins tells where the values of File come from.
	Origins config.Origins
	// Warnings are worth a line at the start, at level warn.
	Warnings []string

	ask *asked
	// levelSaid and formatSaid say that a variable of ours sets the log's level or
	// form, and not Lambda.
	levelSaid, formatSaid bool
}

// Inline says whether Config is the configuration itself and not the path of one.
func (s *Settings) Inline() bool { return strings.ContainsAny(s.Config, "{\n") }

// Format implements fmt.Formatter: Config may hold secrets.
func (s Settings) Format(f fmt.State, _ rune) {
	mode := "closed"
	if s.FailOpen {
		mode = "open"
	}
	_, _ = io.WriteString(f, "settings files="+strconv.FormatBool(s.Files)+" proxy="+strconv.FormatBool(s.Proxy)+" fail="+mode)
}

// LogOff is above every level there is.
const LogOff slog.Level = 1 << 10

// The values of InitType.
const (
	OnDemand               = "on-demand"
	ProvisionedConcurrency = "provisioned-concurrency"
	SnapStart              = "snap-start"
	ManagedInstances       = "lambda-managed-instances"
)

// Secret is a secret that becomes a file.
type Secret struct {
	// Name is what follows VAULT_SECRET_PATH_, empty for the one without a name.
	Name string
	// Path is an API path, without /v1/ and without slashes at its ends.
	Path string
	// File is absolute and clean.
	File string
	// Variable is the variable that names Path.
	Variable string
}
