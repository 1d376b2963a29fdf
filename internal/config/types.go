package config

import (
	"fmt"
	"io/fs"
	"log/slog"
	"time"
)

// File is what one or more configuration files say, decoded and merged, with
// flags and environment laid over it by Resolve. Durations are typed, file
// modes are modes, and every name is that of the stanza it comes from.
type File struct {
	// Sources lists the files read, in the order they were merged.
	Sources []string

	PidFile           string
	ExitAfterAuth     bool
	LogLevel          string
	LogFormat         string
	LogFile           string
	LogRotateDuration time.Duration
	LogRotateBytes    int
	// LogRotateMaxFiles is 0 to keep all old files and -1 to keep none.
	LogRotateMaxFiles int

	DisableIdleConnections []string
	DisableKeepAlives      []string
	ClusterName            string
	// StatusSocket is the path of a unix socket that serves what a listener
	// does under /agent/v1/, empty for none.
	StatusSocket string

	Vault Vault
	// AutoAuth is the default identity: the auto_auth without a name, or the
	// first. Templates read with it, and listeners that name none lend it.
	AutoAuth *AutoAuth
	// Identities are the further ones; each has a name.
	Identities     []*AutoAuth
	Cache          *Cache
	APIProxy       *APIProxy
	Listeners      []Listener
	Templates      []Template
	TemplateConfig TemplateConfig
	EnvTemplates   []EnvTemplate
	Exec           *Exec
	Telemetry      *Telemetry

	// where remembers the places of keys, for problems found later.
	where *where
}

// Pos is a place in a configuration file; the zero Pos is "nowhere known".
type Pos struct {
	File   string
	Line   int
	Column int
}

// Vault is the vault stanza with flags and environment applied.
type Vault struct {
	Address       string
	Namespace     string
	CACert        string
	CACertPEM     string // VAULT_CACERT_BYTES; no key in the file
	CAPath        string
	ClientCert    string
	ClientKey     string
	TLSSkipVerify bool
	TLSServerName string
	// NumRetries is the number of retries after a first try; never negative
	// once resolved (the file's 0 is the default 12, its -1 is none).
	NumRetries int

	// The following have no key in the file, only an environment variable
	// or a flag, as vault-agent.md 1.2 lists them.
	ClientTimeout    time.Duration // VAULT_CLIENT_TIMEOUT, 60s
	RateLimit        float64       // VAULT_RATE_LIMIT, requests per second, 0 = none
	RateBurst        int
	SRVLookup        bool    // VAULT_SRV_LOOKUP
	ProxyAddress     string  // VAULT_PROXY_ADDR, VAULT_HTTP_PROXY
	DisableRedirects bool    // VAULT_DISABLE_REDIRECTS, -disable-redirects
	Headers          Headers // VAULT_HEADERS, -header
}

// Headers are sent with every request. Their values may be secrets, so no
// printing path shows them.
type Headers map[string]string

// Format implements fmt.Formatter for every verb.
func (h Headers) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "[%d headers]", len(h)) }

// LogValue implements slog.LogValuer.
func (h Headers) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(h)) }

// DefaultIdentity is what a listener may call an auto_auth without a name.
const DefaultIdentity = "default"

// AutoAuth is one auto_auth stanza: one identity.
type AutoAuth struct {
	// Name is empty where the file gives none.
	Name string
	// EnableReauthOnNewCredentials is on unless a file turns it off.
	EnableReauthOnNewCredentials bool
	Method                       Method
	Sinks                        []Sink
	// Handover is nil when a restart begins with a login.
	Handover *Handover
	Pos      Pos
}

// Handover is where the token is kept, encrypted, for the next start. Exactly
// one of KeyFile and KeyEnv is set once checked.
type Handover struct {
	Path string
	// KeyFile is a file that holds the key, KeyEnv the name of a variable.
	KeyFile string
	KeyEnv  string
	Pos     Pos
}

// Method is how to log in.
type Method struct {
	Type string
	// MountPath has no trailing slash and includes "auth/".
	MountPath string
	// Namespace ends with a slash, or is empty.
	Namespace  string
	WrapTTL    time.Duration
	MinBackoff time.Duration
	MaxBackoff time.Duration
	ExitOnErr  bool
	// Config is decoded by the method itself; see Block.
	Config Block
	Pos    Pos
}

// Sink is where a token goes.
type Sink struct {
	Type      string
	WrapTTL   time.Duration
	DHType    string
	DHPath    string
	DeriveKey bool
	AAD       string
	AADEnvVar string
	// Command is run after each write: one element for a line that a shell may
	// have to split, more for an argv that is run as it stands.
	Command        []string
	CommandTimeout time.Duration
	// Signal goes after each write to the process whose id SignalPIDFile holds;
	// both are set, or neither.
	Signal        string
	SignalPIDFile string
	Config        Block
	Pos           Pos
}

// AutoAuthToken says whether the proxy lends the token of auto_auth.
type AutoAuthToken string

// The values of use_auto_auth_token.
const (
	AutoAuthTokenNo    AutoAuthToken = ""
	AutoAuthTokenYes   AutoAuthToken = "true"
	AutoAuthTokenForce AutoAuthToken = "force"
)

// Cache is the cache stanza.
type Cache struct {
	UseAutoAuthToken   AutoAuthToken
	EnforceConsistency string // never, always
	WhenInconsistent   string // fail, retry, forward
	// StaticTTL is how long static secrets are served, 0 for not at all.
	StaticTTL time.Duration
	// StaticStale is how much longer, while the server does not answer.
	StaticStale time.Duration
	// StaticCapabilityInterval is how often it is asked whether a token may
	// still read what it has read.
	StaticCapabilityInterval time.Duration
	// StaticCapabilityPessimistic says that no answer to that means no.
	StaticCapabilityPessimistic bool
	// StaticEvents asks the server to tell of changed secrets.
	StaticEvents bool
	MaxEntries   int
	MaxSize      int64 // bytes
	// KeyHeaders are names of headers that tell requests apart.
	KeyHeaders []string
	Persist    *Persist
	Pos        Pos
}

// Persist is the persist block of cache.
type Persist struct {
	Type string // kubernetes, file
	// Path is a directory.
	Path            string
	KeepAfterImport bool
	ExitOnErr       bool
	// ServiceAccountTokenFile holds the key of type kubernetes.
	ServiceAccountTokenFile string
	// Exactly one of KeyFile and KeyEnv is set for type file once checked: a
	// file that holds the key, or the name of a variable.
	KeyFile string
	KeyEnv  string
	Pos     Pos
}

// APIProxy is the api_proxy stanza.
type APIProxy struct {
	UseAutoAuthToken   AutoAuthToken
	EnforceConsistency string
	WhenInconsistent   string
	Pos                Pos
}

// Listener is one listener stanza.
type Listener struct {
	Type string // tcp, unix
	// Address is host:port, a path, or systemd:NAME for a socket handed over.
	Address string
	Role    string
	// AutoAuth names the identity that is lent here, empty for the default.
	AutoAuth             string
	RequireRequestHeader bool
	// Guard refuses what looks like a browser or a proxy.
	Guard bool
	// CallerTokenFile or CallerTokenEnv is where the token is that callers have
	// to show; at most one is set.
	CallerTokenFile string
	CallerTokenEnv  string
	// AllowPaths are the paths that are served, none for all.
	AllowPaths []string
	// AllowPeers are user:NAME, uid:N, group:NAME or gid:N; none for all.
	AllowPeers []string
	// ReadOnly refuses what may change something.
	ReadOnly bool
	// Limits; 0 is none, and for MaxHeaderSize the server's own.
	MaxConnections int
	MaxHeaderSize  int   // bytes
	MaxBodySize    int64 // bytes
	RequestTimeout time.Duration

	EnableQuit                bool // agent_api.enable_quit
	ProxyEnableQuit           bool // proxy_api.enable_quit
	TLSDisable                bool
	TLSCertFile               string
	TLSKeyFile                string
	TLSMinVersion             string
	TLSMaxVersion             string
	TLSCipherSuites           []string
	TLSRequireAndVerifyClient bool
	TLSClientCAFile           string
	TLSDisableClientCerts     bool
	TLSAutoReload             bool // from OpenBao
	SocketMode                string
	SocketUser                string
	SocketGroup               string
	Pos                       Pos
}

// Template is one template stanza.
type Template struct {
	Source   string
	Contents string
	// Secret with Format is latchkey's own: the secret at this path as a
	// file, without a template. Format is json, dotenv or yaml.
	Secret string
	Format string

	Destination    string
	CreateDestDirs bool
	// Perms is nil when not set: keep the mode of the file, else 0644.
	Perms *fs.FileMode
	// User and Group are names or decimal ids; empty keeps what is there.
	User, Group       string
	ErrorOnMissingKey bool
	ErrorFatal        bool
	Backup            bool
	LeftDelimiter     string
	RightDelimiter    string
	SandboxPath       string
	FunctionDenylist  []string
	// Wait is nil when not set.
	Wait *Wait
	// Exec is the command to run after the file changed, nil for none; the
	// deprecated command and command_timeout arrive here too.
	Exec *TemplateExec
	Pos  Pos

	// What command and command_timeout said, until Exec is settled.
	oldCommand []string
	oldTimeout time.Duration
}

// Wait is the quiescence timer of a template.
type Wait struct {
	Min, Max time.Duration

	enabled *bool
}

// TemplateExec is what a template runs when its content changed.
type TemplateExec struct {
	// Command has one element for a line that a shell may have to split,
	// more for an argv that is run as it stands.
	Command      []string
	Timeout      time.Duration
	Env          ExecEnv
	KillSignal   string
	KillTimeout  time.Duration
	ReloadSignal string
	Splay        time.Duration
	Pos          Pos

	enabled *bool
}

// ExecEnv is the env block of a command.
type ExecEnv struct {
	Pristine  bool
	Custom    []string
	Allowlist []string
	Denylist  []string
}

// TemplateConfig is the template_config stanza.
type TemplateConfig struct {
	ExitOnRetryFailure         bool
	StaticSecretRenderInterval time.Duration
	MaxConnectionsPerHost      int
	LeaseRenewalThreshold      float64
	// StaticSecretEvents asks the server to tell of changed secrets.
	StaticSecretEvents bool
	Pos                Pos
}

// EnvTemplate is one env_template stanza: a template whose output is the value
// of the variable Name.
type EnvTemplate struct {
	Name string
	Template
}

// Exec is the exec stanza: the child process that daemon mode supervises.
type Exec struct {
	Command []string
	// RestartOnSecretChanges is always, never, or signal:NAME.
	RestartOnSecretChanges string
	RestartStopSignal      string
	// RestartKillTimeout is how long the process has after RestartStopSignal.
	RestartKillTimeout time.Duration
	// RestartDelay is how long it must be quiet before a restart.
	RestartDelay       time.Duration
	ChildProcessStdout string
	ChildProcessStderr string
	// PassCredentials leaves our own credentials in the process's environment.
	PassCredentials bool
	Env             ExecEnv
	Pos             Pos
}

// Telemetry is the telemetry stanza.
type Telemetry struct {
	StatsiteAddress         string
	StatsdAddress           string
	DogstatsdAddr           string
	DogstatsdTags           []string
	PrometheusRetentionTime time.Duration
	DisableHostname         bool
	EnableHostnameLabel     bool
	MetricsPrefix           string
	FilterDefault           *bool
	PrefixFilter            []string
	OTLP                    OTLP
	// Other holds the remaining accepted keys (circonus_*, stackdriver_*),
	// which no exporter reads.
	Other map[string]string
	Pos   Pos
}

// OTLP is where OpenTelemetry metrics are pushed to; an empty Endpoint is
// nowhere.
type OTLP struct {
	Endpoint string
	Interval time.Duration
	Headers  Headers
}
