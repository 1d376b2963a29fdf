package config

// stanza is one kind of block: what may stand in it, and where that goes.
type stanza struct {
	// name is the key of the block; the top of the file has none.
	name string
	// label names what a label on the block sets: "type", "name", or "" for a
	// block that takes none.
	label string
	doc   string
	keys  []key
	// stray is the hint for a key that is not one of these.
	stray string
	// after fills in what depends on several keys, once all are read.
	after func(d *decoder, b *body)
}

// key is one line of the reference: its name, type, default, where else it can
// be set, what it does, and where it is put.
type key struct {
	name string
	typ  typ
	// def is the default, written as in a file; "" for the zero value.
	def string
	// env is the variable's name without its VAULT_ or BAO_ prefix.
	env string
	// envOld are further names of it, which env wins over.
	envOld []string
	// flag is the flag's name without dash.
	flag string
	doc  string
	// ignored says why the key does nothing here; such a key is a warning.
	ignored string
	// ours marks what Vault Agent does not know.
	ours bool
	// notInFile marks what only the environment and flags can set.
	notInFile bool
	required  bool
	// aliasOf names the row that this one is another spelling of.
	aliasOf string
	// lastWins lets a block stand more than once.
	lastWins bool
	oneOf    []string
	// fold lets the value be in any case.
	fold bool
	sub  *stanza
	// at is where the value goes, given a pointer to the stanza's struct.
	at func(any) any
}

type typ string

const (
	tString typ = "string"
	tBool   typ = "bool"
	tInt    typ = "int"
	tFloat  typ = "float"
	tDur    typ = "duration"
	tMode   typ = "file mode"
	tSize   typ = "size"
	tList   typ = "list"
	tCommas typ = "list or comma-separated string"
	tArgv   typ = "list or string"
	tMap    typ = "map"
	tLend   typ = `bool or "force"`
	tWait   typ = `block or "min:max"`
	tBlock  typ = "block"
	tBlocks typ = "block, repeatable"
	tBody   typ = "map of the type's own keys"
)

const (
	serverOnly = "it is a key of the Vault server, which Vault Agent parses and ignores too"
	proxyOnly  = "it is a key of vault proxy, which Vault Agent ignores too"
)

// subsystems are the values of disable_idle_connections and disable_keep_alives.
var subsystems = []string{"auto-auth", "caching", "proxying", "templating"}

var topStanza = stanza{
	doc: "Keys at the top of a file.",
	keys: []key{
		{name: "pid_file", typ: tString, doc: "Where to write the process id; removed on exit.", at: func(t any) any { return &t.(*File).PidFile }},
		{name: "exit_after_auth", typ: tBool, def: "false", flag: "exit-after-auth", doc: "Exit when every sink and template is written: one-shot.", at: func(t any) any { return &t.(*File).ExitAfterAuth }},
		{name: "log_level", typ: tString, def: "info", env: "LOG_LEVEL", flag: "log-level", doc: "trace, debug, info (or notice), warn (or warning), error (or err).", at: func(t any) any { return &t.(*File).LogLevel }},
		{name: "log_format", typ: tString, def: "standard", env: "LOG_FORMAT", flag: "log-format", doc: "standard or json.", at: func(t any) any { return &t.(*File).LogFormat }},
		{name: "log_file", typ: tString, flag: "log-file", doc: "A file that receives the log beside standard error.", at: func(t any) any { return &t.(*File).LogFile }},
		{name: "log_rotate_duration", typ: tDur, def: "24h", flag: "log-rotate-duration", doc: "Start a new log file after this time.", at: func(t any) any { return &t.(*File).LogRotateDuration }},
		{name: "log_rotate_bytes", typ: tInt, def: "0", flag: "log-rotate-bytes", doc: "Start a new log file at this size; 0 is no limit.", at: func(t any) any { return &t.(*File).LogRotateBytes }},
		{name: "log_rotate_max_files", typ: tInt, def: "0", flag: "log-rotate-max-files", doc: "How many old log files to keep: 0 all, -1 none.", at: func(t any) any { return &t.(*File).LogRotateMaxFiles }},
		{name: "disable_idle_connections", typ: tCommas, env: "AGENT_DISABLE_IDLE_CONNECTIONS", doc: "Subsystems that keep no idle connection: auto-auth, caching, proxying, templating.", at: func(t any) any { return &t.(*File).DisableIdleConnections }},
		{name: "disable_keep_alives", typ: tCommas, env: "AGENT_DISABLE_KEEP_ALIVES", doc: "Subsystems that open a new connection for each request; the same names.", at: func(t any) any { return &t.(*File).DisableKeepAlives }},
		{name: "cluster_name", typ: tString, doc: "A label for telemetry.", at: func(t any) any { return &t.(*File).ClusterName }},
		{name: "status_socket", typ: tString, ours: true, doc: "A unix socket, mode 0660, that serves /agent/v1/health, ready, status and metrics, beside any listener or without one.", at: func(t any) any { return &t.(*File).StatusSocket }},
		{name: "vault", typ: tBlock, sub: &vaultStanza, at: func(t any) any { return &t.(*File).Vault }},
		{name: autoAuthKey, typ: tBlocks, sub: &autoAuthStanza, at: func(t any) any { return &t.(*File).Identities }},
		{name: "cache", typ: tBlock, sub: &cacheStanza, at: func(t any) any { return &t.(*File).Cache }},
		{name: "api_proxy", typ: tBlock, sub: &apiProxyStanza, at: func(t any) any { return &t.(*File).APIProxy }},
		{name: "listener", typ: tBlocks, sub: &listenerStanza, at: func(t any) any { return &t.(*File).Listeners }},
		{name: "template", typ: tBlocks, sub: &templateStanza, at: func(t any) any { return &t.(*File).Templates }},
		{name: "template_config", typ: tBlock, sub: &templateConfigStanza, at: func(t any) any { return &t.(*File).TemplateConfig }},
		{name: "env_template", typ: tBlocks, sub: &envTemplateStanza, at: func(t any) any { return &t.(*File).EnvTemplates }},
		{name: "exec", typ: tBlock, sub: &execStanza, at: func(t any) any { return &t.(*File).Exec }},
		{name: "telemetry", typ: tBlock, sub: &telemetryStanza, at: func(t any) any { return &t.(*File).Telemetry }},
		{name: "disable_mlock", ignored: serverOnly},
		{name: "default_max_request_duration", ignored: serverOnly},
		{name: "seal", ignored: serverOnly},
		{name: "kms", ignored: serverOnly},
		{name: "hsm", ignored: serverOnly},
		{name: "entropy", ignored: serverOnly},
		{name: "user_lockout", ignored: serverOnly},
		{name: "cloud", ignored: serverOnly},
		{name: "administrative_namespace_path", ignored: serverOnly},
	},
}

var vaultStanza = stanza{
	name: "vault",
	doc:  "How to reach the server.",
	keys: []key{
		{name: "address", typ: tString, def: "https://127.0.0.1:8200", env: "ADDR", flag: "address", doc: "The server's URL. An empty string counts as not set.", at: func(t any) any { return &t.(*Vault).Address }},
		{name: "namespace", typ: tString, env: "NAMESPACE", flag: "namespace", doc: "The namespace of every request that names none of its own.", at: func(t any) any { return &t.(*Vault).Namespace }},
		{name: "ca_cert", typ: tString, env: "CACERT", flag: "ca-cert", doc: "A file of CA certificates, PEM; wins over ca_path.", at: func(t any) any { return &t.(*Vault).CACert }},
		{name: "ca_cert_bytes", typ: tString, notInFile: true, env: "CACERT_BYTES", doc: "CA certificates themselves, PEM; win over ca_path, and ca_cert over them.", at: func(t any) any { return &t.(*Vault).CACertPEM }},
		{name: "ca_path", typ: tString, env: "CAPATH", flag: "ca-path", doc: "A directory of CA certificates, PEM.", at: func(t any) any { return &t.(*Vault).CAPath }},
		{name: "client_cert", typ: tString, env: "CLIENT_CERT", flag: "client-cert", doc: "The client's certificate, PEM; needs client_key.", at: func(t any) any { return &t.(*Vault).ClientCert }},
		{name: "client_key", typ: tString, env: "CLIENT_KEY", flag: "client-key", doc: "The key of client_cert, PEM.", at: func(t any) any { return &t.(*Vault).ClientKey }},
		{name: "tls_skip_verify", typ: tBool, def: "false", env: "SKIP_VERIFY", flag: "tls-skip-verify", doc: "Do not verify the server's certificate.", at: func(t any) any { return &t.(*Vault).TLSSkipVerify }},
		{name: "tls_server_name", typ: tString, env: "TLS_SERVER_NAME", flag: "tls-server-name", doc: "The name asked for (SNI) and expected in the server's certificate.", at: func(t any) any { return &t.(*Vault).TLSServerName }},
		{name: "retry", typ: tBlock, sub: &retryStanza, at: func(t any) any { return t }},
		{name: "client_timeout", typ: tDur, def: "60s", notInFile: true, env: "CLIENT_TIMEOUT", doc: "The limit for one request.", at: func(t any) any { return &t.(*Vault).ClientTimeout }},
		{name: "rate_limit", typ: tString, notInFile: true, env: "RATE_LIMIT", doc: `Requests per second, "n" or "n:burst".`, at: func(t any) any { return rateLimit{t.(*Vault)} }},
		{name: "srv_lookup", typ: tBool, def: "false", notInFile: true, env: "SRV_LOOKUP", doc: "Look the address up as a DNS SRV record.", at: func(t any) any { return &t.(*Vault).SRVLookup }},
		{name: "proxy_address", typ: tString, notInFile: true, env: "PROXY_ADDR", envOld: []string{"HTTP_PROXY"}, doc: "An HTTP or SOCKS proxy; VAULT_HTTP_PROXY is its older name.", at: func(t any) any { return &t.(*Vault).ProxyAddress }},
		{name: "disable_redirects", typ: tBool, def: "false", notInFile: true, env: "DISABLE_REDIRECTS", flag: "disable-redirects", doc: "Do not follow redirects.", at: func(t any) any { return &t.(*Vault).DisableRedirects }},
		{name: "headers", typ: tMap, notInFile: true, env: "HEADERS", flag: "header", doc: `Headers for every request, a JSON object; names may not begin with X-Vault-.`, at: func(t any) any { return headerMap{&t.(*Vault).Headers} }},
	},
}

var retryStanza = stanza{
	name: "retry",
	doc:  "How often a failed request is tried again.",
	keys: []key{
		{name: "num_retries", typ: tInt, def: "12", env: "MAX_RETRIES", doc: "Retries after the first try. In a file 0 means the default and -1 none; in the environment 0 means none.", at: func(t any) any { return &t.(*Vault).NumRetries }},
	},
}

// autoAuthKey is the one block that repeats by name: see identity.go.
const autoAuthKey = "auto_auth"

var autoAuthStanza = stanza{
	name: autoAuthKey, label: "name",
	doc: "How to log in, and where the token goes: one identity. There may be several, told apart by names; templates read with the one that has no name, or with the first.",
	keys: []key{
		{name: "name", typ: tString, ours: true, doc: "What a listener calls this identity; a label on the block does the same. Names are for a mode that stays.", at: func(t any) any { return &t.(*AutoAuth).Name }},
		{name: "enable_reauth_on_new_credentials", typ: tBool, def: "true", doc: "Log in again when the method's credential files change. Vault Agent's default is false.", at: func(t any) any { return &t.(*AutoAuth).EnableReauthOnNewCredentials }},
		{name: "method", typ: tBlock, required: true, sub: &methodStanza, at: func(t any) any { return &t.(*AutoAuth).Method }},
		{name: "sink", typ: tBlocks, sub: &sinkStanza, at: func(t any) any { return &t.(*AutoAuth).Sinks }},
		{name: "handover", typ: tBlock, ours: true, sub: &handoverStanza, at: func(t any) any { return &t.(*AutoAuth).Handover }},
		{name: "sinks", aliasOf: "sink", typ: tBlock, ours: true, sub: &sinksStanza, doc: "A wrapper around sink blocks, or a list of sinks, as some documentation shows it. Vault Agent forgets labels in it.", at: func(t any) any { return t }},
	},
}

var handoverStanza = stanza{
	name: "handover",
	doc:  "Keep the token, encrypted, for the next start: it is used again as long as the server takes it, so that a restart needs no login. Exactly one of key_file and key_env.",
	keys: []key{
		{name: "path", typ: tString, required: true, ours: true, doc: "The file for the encrypted token.", at: func(t any) any { return &t.(*Handover).Path }},
		{name: "key_file", typ: tString, ours: true, doc: "A file that holds the key: any text or bytes that nobody guesses, at least 16 of them.", at: func(t any) any { return &t.(*Handover).KeyFile }},
		{name: "key_env", typ: tString, ours: true, doc: "The variable that holds the key.", at: func(t any) any { return &t.(*Handover).KeyEnv }},
	},
}

var sinksStanza = stanza{
	name: "sinks",
	doc:  "Only sink blocks, or the sinks themselves.",
	keys: []key{{name: "sink", typ: tBlocks, sub: &sinkStanza, at: func(t any) any { return &t.(*AutoAuth).Sinks }}},
}

var methodStanza = stanza{
	name: "method", label: "type",
	doc:   "The auth method. What its config may hold depends on its type.",
	stray: "the method's own keys stand in its config block: config { ... }",
	keys: []key{
		{name: "type", typ: tString, required: true, doc: "The method's name; a label on the block does the same.", at: func(t any) any { return &t.(*Method).Type }},
		{name: "mount_path", typ: tString, def: "auth/TYPE", doc: "Where the method is mounted, with auth/.", at: func(t any) any { return &t.(*Method).MountPath }},
		{name: "namespace", typ: tString, doc: "The namespace to log in to.", at: func(t any) any { return &t.(*Method).Namespace }},
		{name: "wrap_ttl", typ: tDur, def: "0", doc: "Have the login's answer wrapped, for this time; the sink then holds the wrapping token's description.", at: func(t any) any { return &t.(*Method).WrapTTL }},
		{name: "min_backoff", typ: tDur, def: "1s", doc: "The wait after a first failed login.", at: func(t any) any { return &t.(*Method).MinBackoff }},
		{name: "max_backoff", typ: tDur, def: "5m", doc: "The longest wait between two logins.", at: func(t any) any { return &t.(*Method).MaxBackoff }},
		{name: "exit_on_err", typ: tBool, def: "false", doc: "End at the first failed login.", at: func(t any) any { return &t.(*Method).ExitOnErr }},
		{name: "config", typ: tBody, doc: "The method's own keys.", at: func(t any) any { return &t.(*Method).Config }},
	},
	after: finishMethod,
}

var sinkStanza = stanza{
	name: "sink", label: "type",
	doc:   "One place for the token. What its config may hold depends on its type.",
	stray: "the sink's own keys stand in its config block: config { ... }",
	keys: []key{
		{name: "type", typ: tString, required: true, doc: "file or stdout; a label on the block does the same.", at: func(t any) any { return &t.(*Sink).Type }},
		{name: "wrap_ttl", typ: tDur, def: "0", doc: "Write a response-wrapped token that lives this long.", at: func(t any) any { return &t.(*Sink).WrapTTL }},
		{name: "dh_type", typ: tString, oneOf: []string{"curve25519"}, doc: "Encrypt for the key in dh_path: curve25519.", at: func(t any) any { return &t.(*Sink).DHType }},
		{name: "dh_path", typ: tString, doc: "The file with the reader's public key.", at: func(t any) any { return &t.(*Sink).DHPath }},
		{name: "derive_key", typ: tBool, def: "false", doc: "Derive the encryption key with HKDF instead of using the shared secret itself.", at: func(t any) any { return &t.(*Sink).DeriveKey }},
		{name: "aad", typ: tString, doc: "Additional authenticated data for the encryption.", at: func(t any) any { return &t.(*Sink).AAD }},
		{name: "aad_env_var", typ: tString, doc: "The variable that holds aad; wins over aad.", at: func(t any) any { return &t.(*Sink).AADEnvVar }},
		{name: "command", typ: tArgv, ours: true, doc: "What to run after the token was written. A list is a program and its arguments; a single string is run by sh -c when it holds spaces.", at: func(t any) any { return &t.(*Sink).Command }},
		{name: "command_timeout", typ: tDur, def: "30s", ours: true, doc: "The limit for command.", at: func(t any) any { return &t.(*Sink).CommandTimeout }},
		{name: "signal", typ: tString, ours: true, doc: "The signal to send after the token was written, such as SIGHUP; needs signal_pid_file.", at: func(t any) any { return &t.(*Sink).Signal }},
		{name: "signal_pid_file", typ: tString, ours: true, doc: "The file with the id of the process that gets signal; read at each write.", at: func(t any) any { return &t.(*Sink).SignalPIDFile }},
		{name: "config", typ: tBody, doc: "The sink's own keys.", at: func(t any) any { return &t.(*Sink).Config }},
	},
	after: func(d *decoder, b *body) { d.own(&b.v.(*Sink).Config, b.v.(*Sink).Type, b) },
}

var cacheStanza = stanza{
	name: "cache",
	doc:  "Cache answers of the proxy; an empty block is enough.",
	keys: []key{
		{name: "use_auto_auth_token", typ: tLend, def: "false", doc: "Older home of api_proxy.use_auto_auth_token.", at: func(t any) any { return &t.(*Cache).UseAutoAuthToken }},
		{name: "enforce_consistency", typ: tString, def: "never", oneOf: []string{"never", "always"}, doc: "always has a standby that lags behind asked for what was written through us before (Enterprise).", at: func(t any) any { return &t.(*Cache).EnforceConsistency }},
		{name: "when_inconsistent", typ: tString, def: "fail", oneOf: []string{"fail", "retry", "forward"}, doc: "What to do when it has not caught up: fail hands its 412 on, retry asks again, forward has the active node answer, which needs enforce_consistency.", at: func(t any) any { return &t.(*Cache).WhenInconsistent }},
		{name: "static_ttl", typ: tDur, def: "0", ours: true, doc: "Serve static secrets (KV, version 1 and 2) from the cache for this time after they were read; 0 does not cache them.", at: func(t any) any { return &t.(*Cache).StaticTTL }},
		{name: "static_stale", typ: tDur, def: "1h", ours: true, doc: "How much longer they are served while the server does not answer, as X-Cache: STALE says.", at: func(t any) any { return &t.(*Cache).StaticStale }},
		{name: "static_secret_token_capability_refresh_interval", typ: tDur, def: "5m", ours: true, doc: "How often the server is asked whether a token may still read the static secrets that it has read. From vault proxy.", at: func(t any) any { return &t.(*Cache).StaticCapabilityInterval }},
		{name: "static_secret_token_capability_refresh_behavior", typ: tString, def: "optimistic", ours: true, oneOf: []string{"optimistic", "pessimistic"}, doc: "What no answer to that means: optimistic goes on serving, pessimistic stops. From vault proxy.", at: func(t any) any { return behavior{&t.(*Cache).StaticCapabilityPessimistic} }},
		{name: "static_events", typ: tBool, def: "false", ours: true, doc: "Have the server tell of changed static secrets over one connection (sys/events, Vault Enterprise and OpenBao), and read those again at once.", at: func(t any) any { return &t.(*Cache).StaticEvents }},
		{name: "max_entries", typ: tInt, def: "100000", ours: true, doc: "How many answers are held.", at: func(t any) any { return &t.(*Cache).MaxEntries }},
		{name: "max_size", typ: tSize, def: "256MiB", ours: true, doc: "How much memory they may take, all together.", at: func(t any) any { return &t.(*Cache).MaxSize }},
		{name: "key_headers", typ: tList, ours: true, doc: "Headers that change the server's answer, beyond those of Vault: requests that differ in one are cached apart.", at: func(t any) any { return &t.(*Cache).KeyHeaders }},
		{name: "persist", typ: tBlock, sub: &persistStanza, at: func(t any) any { return &t.(*Cache).Persist }},
		{name: "cache_static_secrets", ignored: proxyOnly + "; static_ttl caches static secrets"},
		{name: "disable_caching_dynamic_secrets", ignored: proxyOnly},
	},
}

var persistStanza = stanza{
	name: "persist", label: "type",
	doc: "Keep the cache, encrypted, over a restart. A one-shot uses it too: it saves the leases of its templates for the program that stays.",
	keys: []key{
		{name: "type", typ: tString, required: true, oneOf: []string{"kubernetes", "file"}, doc: "kubernetes, with the service account's token as the key, or file, with a key of its own; a label on the block does the same. Vault Agent knows kubernetes only.", at: func(t any) any { return &t.(*Persist).Type }},
		{name: "path", typ: tString, required: true, doc: "The directory for the cache file.", at: func(t any) any { return &t.(*Persist).Path }},
		{name: "keep_after_import", typ: tBool, def: "false", doc: "Keep the file after it was read. Without effect here: the file is kept, and kept current, in any case.", at: func(t any) any { return &t.(*Persist).KeepAfterImport }},
		{name: "exit_on_err", typ: tBool, def: "false", doc: "End when the file cannot be read or restored; otherwise it is set aside and a new one begun.", at: func(t any) any { return &t.(*Persist).ExitOnErr }},
		{name: "service_account_token_file", typ: tString, def: "/var/run/secrets/kubernetes.io/serviceaccount/token", doc: "For kubernetes: the service account's token, which is the key.", at: func(t any) any { return &t.(*Persist).ServiceAccountTokenFile }},
		{name: "key_file", typ: tString, ours: true, doc: "For file: a file that holds the key, in another directory: any text or bytes that nobody guesses, at least 16 of them.", at: func(t any) any { return &t.(*Persist).KeyFile }},
		{name: "key_env", typ: tString, ours: true, doc: "For file: the variable that holds the key.", at: func(t any) any { return &t.(*Persist).KeyEnv }},
	},
}

var apiProxyStanza = stanza{
	name: "api_proxy",
	doc:  "Forward requests of local clients.",
	keys: []key{
		{name: "use_auto_auth_token", typ: tLend, def: "false", doc: `Lend auto_auth's token to requests without one; "force" to all requests.`, at: func(t any) any { return &t.(*APIProxy).UseAutoAuthToken }},
		{name: "enforce_consistency", typ: tString, def: "never", oneOf: []string{"never", "always"}, doc: "always has a standby that lags behind asked for what was written through us before (Enterprise).", at: func(t any) any { return &t.(*APIProxy).EnforceConsistency }},
		{name: "when_inconsistent", typ: tString, def: "fail", oneOf: []string{"fail", "retry", "forward"}, doc: "What to do when it has not caught up: fail hands its 412 on, retry asks again, forward has the active node answer, which needs enforce_consistency.", at: func(t any) any { return &t.(*APIProxy).WhenInconsistent }},
		{name: "prepend_configured_namespace", ignored: proxyOnly},
	},
}

var listenerStanza = stanza{
	name: "listener", label: "type",
	doc: "An address where the proxy answers.",
	keys: []key{
		{name: "type", typ: tString, required: true, oneOf: []string{"tcp", "unix"}, fold: true, doc: "tcp or unix; a label on the block does the same.", at: func(t any) any { return &t.(*Listener).Type }},
		{name: "address", typ: tString, doc: "host:port, by default 127.0.0.1:8200; for unix the socket's path. systemd:NAME is the socket that systemd hands over by that name (FileDescriptorName).", at: func(t any) any { return &t.(*Listener).Address }},
		{name: "role", typ: tString, def: "default", doc: "default, or metrics_only for /agent/v1/metrics alone.", at: func(t any) any { return &t.(*Listener).Role }},
		{name: "require_request_header", typ: tBool, def: "false", doc: "Refuse requests without the header X-Vault-Request: true, to our own endpoints too.", at: func(t any) any { return &t.(*Listener).RequireRequestHeader }},
		{name: "auto_auth", typ: tString, ours: true, doc: "The name of the identity that is lent here; by default the one of the templates. Whether one is lent at all, api_proxy.use_auto_auth_token says.", at: func(t any) any { return &t.(*Listener).AutoAuth }},
		{name: "guard", typ: tBool, def: "false", ours: true, doc: "Refuse what a browser or another proxy sends: a Host that is not this machine's loopback, Origin, Sec-Fetch-*, X-Forwarded-*, Forwarded, Via.", at: func(t any) any { return &t.(*Listener).Guard }},
		{name: "caller_token_file", typ: tString, ours: true, doc: "A file with a token of our own that every request has to show in the header X-Latchkey-Token; read again when it changes.", at: func(t any) any { return &t.(*Listener).CallerTokenFile }},
		{name: "caller_token_env", typ: tString, ours: true, doc: "The variable that holds that token.", at: func(t any) any { return &t.(*Listener).CallerTokenEnv }},
		{name: "allow_paths", typ: tList, ours: true, doc: "Serve these paths of the API only, such as secret/data/app/*: * at the end stands for anything, + for one part.", at: func(t any) any { return &t.(*Listener).AllowPaths }},
		{name: "read_only", typ: tBool, def: "false", ours: true, doc: "Refuse all methods but GET, HEAD and LIST.", at: func(t any) any { return &t.(*Listener).ReadOnly }},
		{name: "allow_peers", typ: tList, ours: true, doc: "For unix: serve these processes only, by what the kernel says of them: user:NAME, uid:N, group:NAME or gid:N.", at: func(t any) any { return &t.(*Listener).AllowPeers }},
		{name: "max_connections", typ: tInt, def: "0", ours: true, doc: "How many connections are open at a time; one more gets 503 with Retry-After. 0 is no limit.", at: func(t any) any { return &t.(*Listener).MaxConnections }},
		{name: "max_header_size", typ: tSize, def: "0", ours: true, doc: "How large all headers of a request may be, its first line included; 0 is 1 MiB.", at: func(t any) any { return &t.(*Listener).MaxHeaderSize }},
		{name: "max_body_size", typ: tSize, def: "0", ours: true, doc: "How large a request's body may be; 0 is no limit.", at: func(t any) any { return &t.(*Listener).MaxBodySize }},
		{name: "request_timeout", typ: tDur, def: "0", ours: true, doc: "How long a request may take until its answer begins; 0 is no limit beside that of the server's client.", at: func(t any) any { return &t.(*Listener).RequestTimeout }},
		{name: "agent_api", typ: tBlock, sub: &agentAPIStanza, at: func(t any) any { return t }},
		{name: "proxy_api", typ: tBlock, sub: &proxyAPIStanza, at: func(t any) any { return t }},
		{name: "tls_disable", typ: tBool, def: "false", doc: "Serve without TLS; needed for unix too, unless a certificate is given.", at: func(t any) any { return &t.(*Listener).TLSDisable }},
		{name: "tls_cert_file", typ: tString, doc: "The listener's certificate, PEM.", at: func(t any) any { return &t.(*Listener).TLSCertFile }},
		{name: "tls_key_file", typ: tString, doc: "The key of tls_cert_file, PEM.", at: func(t any) any { return &t.(*Listener).TLSKeyFile }},
		{name: "tls_min_version", typ: tString, def: "tls12", oneOf: tlsVersions, doc: "tls12 or tls13. tls10 and tls11 are taken as tls12.", at: func(t any) any { return &t.(*Listener).TLSMinVersion }},
		{name: "tls_max_version", typ: tString, def: "tls13", oneOf: tlsVersions, doc: "tls12 or tls13.", at: func(t any) any { return &t.(*Listener).TLSMaxVersion }},
		{name: "tls_cipher_suites", typ: tCommas, doc: "Names of cipher suites.", at: func(t any) any { return &t.(*Listener).TLSCipherSuites }},
		{name: "tls_require_and_verify_client_cert", typ: tBool, def: "false", doc: "Serve only clients with a certificate that verifies.", at: func(t any) any { return &t.(*Listener).TLSRequireAndVerifyClient }},
		{name: "tls_client_ca_file", typ: tString, doc: "The CA for clients' certificates; by default the system's.", at: func(t any) any { return &t.(*Listener).TLSClientCAFile }},
		{name: "tls_disable_client_certs", typ: tBool, def: "false", doc: "Do not ask clients for a certificate.", at: func(t any) any { return &t.(*Listener).TLSDisableClientCerts }},
		{name: "tls_auto_reload", typ: tBool, def: "false", doc: "Read the certificate again when its file changes (from OpenBao).", at: func(t any) any { return &t.(*Listener).TLSAutoReload }},
		{name: "socket_mode", typ: tString, doc: "The socket's mode, an octal string.", at: func(t any) any { return &t.(*Listener).SocketMode }},
		{name: "socket_user", typ: tString, doc: "The socket's owner, name or id.", at: func(t any) any { return &t.(*Listener).SocketUser }},
		{name: "socket_group", typ: tString, doc: "The socket's group, name or id.", at: func(t any) any { return &t.(*Listener).SocketGroup }},
		{name: "http_*_timeout", ignored: serverOnly},
		{name: "max_request_size", ignored: serverOnly},
		{name: "max_request_duration", ignored: serverOnly},
		{name: "max_json_*", ignored: serverOnly},
		{name: "proxy_protocol_*", ignored: serverOnly},
		{name: "x_forwarded_for_*", ignored: serverOnly},
		{name: "cors_*", ignored: serverOnly},
		{name: "custom_response_headers", ignored: serverOnly},
		{name: "chroot_namespace", ignored: serverOnly},
		{name: "redact_*", ignored: serverOnly},
		{name: "telemetry", ignored: serverOnly},
		{name: "profiling", ignored: serverOnly},
		{name: "inflight_requests_logging", ignored: serverOnly},
		{name: "disable_*", ignored: serverOnly},
		{name: "cluster_address", ignored: serverOnly},
		{name: "purpose", ignored: serverOnly},
		{name: "tls_prefer_server_cipher_suites", ignored: "Go chooses the order of cipher suites itself, for Vault Agent too"},
	},
}

var tlsVersions = []string{"tls10", "tls11", "tls12", "tls13"}

var agentAPIStanza = stanza{
	name: "agent_api",
	doc:  "The agent's own endpoints.",
	keys: []key{{name: "enable_quit", typ: tBool, def: "false", doc: "Serve /agent/v1/quit.", at: func(t any) any { return &t.(*Listener).EnableQuit }}},
}

var proxyAPIStanza = stanza{
	name: "proxy_api",
	doc:  "The same for vault proxy. Without effect here, as in Vault Agent.",
	keys: []key{{name: "enable_quit", typ: tBool, def: "false", doc: "Serve /proxy/v1/quit. Without effect here; agent_api turns /agent/v1/quit on.", at: func(t any) any { return &t.(*Listener).ProxyEnableQuit }}},
}

var templateStanza = stanza{
	name: "template",
	doc:  "A file made from secrets. Exactly one of source, contents and secret.",
	keys: []key{
		{name: "source", typ: tString, doc: "The file that holds the template.", at: func(t any) any { return &t.(*Template).Source }},
		{name: "contents", typ: tString, doc: "The template itself.", at: func(t any) any { return &t.(*Template).Contents }},
		{name: "secret", typ: tString, ours: true, doc: "The path of a secret that is written as a file without a template.", at: func(t any) any { return &t.(*Template).Secret }},
		{name: "format", typ: tString, ours: true, oneOf: formats, doc: "For secret: json, dotenv or yaml; by default what destination's name says (.json, .env, .yaml, .yml), else json.", at: func(t any) any { return &t.(*Template).Format }},
		{name: "destination", typ: tString, required: true, doc: "The file to write.", at: func(t any) any { return &t.(*Template).Destination }},
		{name: "create_dest_dirs", typ: tBool, def: "true", doc: "Make missing directories of destination, mode 0755.", at: func(t any) any { return &t.(*Template).CreateDestDirs }},
		{name: "perms", typ: tMode, doc: "The file's mode; by default that of the file it replaces, else 0644.", at: func(t any) any { return &t.(*Template).Perms }},
		{name: "user", typ: tString, doc: "The file's owner, name or id.", at: func(t any) any { return &t.(*Template).User }},
		{name: "group", typ: tString, doc: "The file's group, name or id.", at: func(t any) any { return &t.(*Template).Group }},
		{name: "uid", aliasOf: "user", typ: tString, doc: "Older form of user.", at: func(t any) any { return &t.(*Template).User }},
		{name: "gid", aliasOf: "group", typ: tString, doc: "Older form of group.", at: func(t any) any { return &t.(*Template).Group }},
		{name: "error_on_missing_key", typ: tBool, def: "false", doc: "Fail when the template names a key that its secret does not hold; otherwise that renders <no value>.", at: func(t any) any { return &t.(*Template).ErrorOnMissingKey }},
		{name: "error_fatal", typ: tBool, def: "true", doc: "Fail when this template fails; otherwise log it and go on.", at: func(t any) any { return &t.(*Template).ErrorFatal }},
		{name: "backup", typ: tBool, def: "false", doc: "Keep the previous file as destination.bak.", at: func(t any) any { return &t.(*Template).Backup }},
		{name: "command", aliasOf: "exec.command", typ: tCommas, doc: "Older form of exec.command.", at: func(t any) any { return &t.(*Template).oldCommand }},
		{name: "command_timeout", aliasOf: "exec.timeout", typ: tDur, def: "30s", doc: "Older form of exec.timeout.", at: func(t any) any { return &t.(*Template).oldTimeout }},
		{name: "exec", typ: tBlock, lastWins: true, sub: &templateExecStanza, at: func(t any) any { return &t.(*Template).Exec }},
		{name: "wait", typ: tWait, doc: "Hold a change back until it is quiet for min, at most for max (by default 4 times min).", at: func(t any) any { return &t.(*Template).Wait }},
		{name: "left_delimiter", typ: tString, def: "{{", doc: "What begins an action.", at: func(t any) any { return &t.(*Template).LeftDelimiter }},
		{name: "right_delimiter", typ: tString, def: "}}", doc: "What ends an action.", at: func(t any) any { return &t.(*Template).RightDelimiter }},
		{name: "sandbox_path", typ: tString, doc: "The directory outside of which the template may read no file.", at: func(t any) any { return &t.(*Template).SandboxPath }},
		{name: "function_denylist", typ: tList, doc: "Functions the template may not call; * is a wildcard.", at: func(t any) any { return &t.(*Template).FunctionDenylist }},
		{name: "function_blacklist", aliasOf: "function_denylist", typ: tList, doc: "Older form of function_denylist.", at: func(t any) any { return &t.(*Template).FunctionDenylist }},
	},
	after: finishTemplate,
}

var formats = []string{"json", "dotenv", "yaml"}

var templateExecStanza = stanza{
	name: "exec",
	doc:  "The command to run when the file's content changed.",
	keys: []key{
		{name: "command", typ: tCommas, doc: "A list is a program and its arguments; a single string is run by sh -c when it holds spaces, and is split at commas.", at: func(t any) any { return &t.(*TemplateExec).Command }},
		{name: "enabled", typ: tBool, def: "true when command is set", doc: "false turns the command off.", at: func(t any) any { return &t.(*TemplateExec).enabled }},
		{name: "timeout", typ: tDur, def: "30s", doc: "The limit for the command.", at: func(t any) any { return &t.(*TemplateExec).Timeout }},
		{name: "env", typ: tBlock, sub: &execEnvStanza, at: func(t any) any { return &t.(*TemplateExec).Env }},
		{name: "kill_signal", typ: tString, def: "SIGINT", doc: "The signal that asks the command to end.", at: func(t any) any { return &t.(*TemplateExec).KillSignal }},
		{name: "kill_timeout", typ: tDur, def: "30s", doc: "How long it has before SIGKILL; a second at most when the run itself ends.", at: func(t any) any { return &t.(*TemplateExec).KillTimeout }},
		{name: "reload_signal", typ: tString, doc: "The signal for a command that still runs when the file changes again.", at: func(t any) any { return &t.(*TemplateExec).ReloadSignal }},
		{name: "splay", typ: tDur, def: "0", doc: "Wait a random time up to this one before a signal.", at: func(t any) any { return &t.(*TemplateExec).Splay }},
	},
}

var execEnvStanza = stanza{
	name: "env",
	doc:  "The command's environment.",
	keys: []key{
		{name: "pristine", typ: tBool, def: "false", doc: "Inherit nothing.", at: func(t any) any { return &t.(*ExecEnv).Pristine }},
		{name: "custom", typ: tList, doc: "Variables to add, NAME=value.", at: func(t any) any { return &t.(*ExecEnv).Custom }},
		{name: "allowlist", typ: tList, doc: "Inherit only these; * is a wildcard.", at: func(t any) any { return &t.(*ExecEnv).Allowlist }},
		{name: "denylist", typ: tList, doc: "Do not inherit these; wins over allowlist.", at: func(t any) any { return &t.(*ExecEnv).Denylist }},
		{name: "whitelist", aliasOf: "allowlist", typ: tList, doc: "Older form of allowlist.", at: func(t any) any { return &t.(*ExecEnv).Allowlist }},
		{name: "blacklist", aliasOf: "denylist", typ: tList, doc: "Older form of denylist.", at: func(t any) any { return &t.(*ExecEnv).Denylist }},
	},
}

var waitStanza = stanza{
	name: "wait",
	doc:  "The quiescence timer.",
	keys: []key{
		{name: "min", typ: tDur, doc: "How long it must be quiet.", at: func(t any) any { return &t.(*Wait).Min }},
		{name: "max", typ: tDur, doc: "The longest wait; by default 4 times min.", at: func(t any) any { return &t.(*Wait).Max }},
		{name: "enabled", typ: tBool, def: "true", doc: "false turns the timer off.", at: func(t any) any { return &t.(*Wait).enabled }},
	},
}

var templateConfigStanza = stanza{
	name: "template_config",
	doc:  "What holds for all templates.",
	keys: []key{
		{name: "exit_on_retry_failure", typ: tBool, def: "false", doc: "Exit when a secret cannot be read after all retries; a one-shot always does.", at: func(t any) any { return &t.(*TemplateConfig).ExitOnRetryFailure }},
		{name: "static_secret_render_interval", typ: tDur, def: "5m", doc: "How often a secret without a lease is read again.", at: func(t any) any { return &t.(*TemplateConfig).StaticSecretRenderInterval }},
		{name: "max_connections_per_host", typ: tInt, def: "10", doc: "The most connections to one server.", at: func(t any) any { return &t.(*TemplateConfig).MaxConnectionsPerHost }},
		{name: "lease_renewal_threshold", typ: tFloat, def: "0.90", doc: "The part of a lease after which a secret that cannot be renewed is read again.", at: func(t any) any { return &t.(*TemplateConfig).LeaseRenewalThreshold }},
		{name: "static_secret_events", typ: tBool, def: "false", ours: true, doc: "Have the server tell of changed KV secrets, where it can (sys/events), and read them at once; the interval stays as the fallback.", at: func(t any) any { return &t.(*TemplateConfig).StaticSecretEvents }},
	},
}

var envTemplateStanza = stanza{
	name: "env_template", label: "name",
	doc: "A variable of the process in exec, made from secrets. The label is its name. Exactly one of source and contents.",
	keys: []key{
		{name: "source", typ: tString, doc: "The file that holds the template.", at: func(t any) any { return &t.(*EnvTemplate).Source }},
		{name: "contents", typ: tString, doc: "The template itself.", at: func(t any) any { return &t.(*EnvTemplate).Contents }},
		{name: "error_on_missing_key", typ: tBool, def: "false", doc: "As in template.", at: func(t any) any { return &t.(*EnvTemplate).ErrorOnMissingKey }},
		{name: "error_fatal", typ: tBool, def: "true", doc: "As in template.", at: func(t any) any { return &t.(*EnvTemplate).ErrorFatal }},
		{name: "left_delimiter", typ: tString, def: "{{", doc: "As in template.", at: func(t any) any { return &t.(*EnvTemplate).LeftDelimiter }},
		{name: "right_delimiter", typ: tString, def: "}}", doc: "As in template.", at: func(t any) any { return &t.(*EnvTemplate).RightDelimiter }},
		{name: "function_denylist", typ: tList, doc: "As in template.", at: func(t any) any { return &t.(*EnvTemplate).FunctionDenylist }},
		{name: "function_blacklist", aliasOf: "function_denylist", typ: tList, doc: "Older form of function_denylist.", at: func(t any) any { return &t.(*EnvTemplate).FunctionDenylist }},
	},
}

var execStanza = stanza{
	name: "exec",
	doc:  "The process that daemon mode runs with the variables of env_template.",
	keys: []key{
		{name: "command", typ: tCommas, required: true, doc: "The program and its arguments.", at: func(t any) any { return &t.(*Exec).Command }},
		{name: "restart_on_secret_changes", typ: tString, def: "always", doc: "What new secrets do: always restarts the process, never leaves it alone, signal:SIGHUP (or another signal) sends it that signal.", at: func(t any) any { return &t.(*Exec).RestartOnSecretChanges }},
		{name: "restart_stop_signal", typ: tString, def: "SIGTERM", doc: "The signal that stops the process for a restart.", at: func(t any) any { return &t.(*Exec).RestartStopSignal }},
		{name: "restart_kill_timeout", typ: tDur, def: "30s", ours: true, doc: "How long the process has after that signal, before SIGKILL.", at: func(t any) any { return &t.(*Exec).RestartKillTimeout }},
		{name: "restart_delay", typ: tDur, def: "1s", ours: true, doc: "How long secrets must be unchanged before a restart, so that several changes make one. The first start does not wait.", at: func(t any) any { return &t.(*Exec).RestartDelay }},
		{name: "child_process_stdout", typ: tString, doc: "A file for the process's standard output; by default ours.", at: func(t any) any { return &t.(*Exec).ChildProcessStdout }},
		{name: "child_process_stderr", typ: tString, doc: "A file for its standard error; by default ours.", at: func(t any) any { return &t.(*Exec).ChildProcessStderr }},
		{name: "pass_credentials", typ: tBool, def: "false", ours: true, doc: "Leave VAULT_TOKEN, BAO_TOKEN and what else we log in with in the process's environment.", at: func(t any) any { return &t.(*Exec).PassCredentials }},
		{name: "env", typ: tBlock, ours: true, sub: &execEnvStanza, at: func(t any) any { return &t.(*Exec).Env }},
	},
}

var telemetryStanza = stanza{
	name: "telemetry",
	doc:  "Where measurements go.",
	keys: []key{
		{name: "statsite_address", typ: tString, doc: "A statsite server, host:port.", at: func(t any) any { return &t.(*Telemetry).StatsiteAddress }},
		{name: "statsd_address", typ: tString, doc: "A statsd server, host:port.", at: func(t any) any { return &t.(*Telemetry).StatsdAddress }},
		{name: "dogstatsd_addr", typ: tString, doc: "A DogStatsD server, host:port.", at: func(t any) any { return &t.(*Telemetry).DogstatsdAddr }},
		{name: "dogstatsd_tags", typ: tList, doc: "Tags for it, name:value.", at: func(t any) any { return &t.(*Telemetry).DogstatsdTags }},
		{name: "prometheus_retention_time", typ: tDur, def: "24h", doc: "How long a measurement is served; 0 turns Prometheus off.", at: func(t any) any { return &t.(*Telemetry).PrometheusRetentionTime }},
		{name: "disable_hostname", typ: tBool, def: "false", doc: "Leave the host's name out of gauges.", at: func(t any) any { return &t.(*Telemetry).DisableHostname }},
		{name: "enable_hostname_label", typ: tBool, def: "false", doc: "Give the host's name as a label.", at: func(t any) any { return &t.(*Telemetry).EnableHostnameLabel }},
		{name: "metrics_prefix", typ: tString, doc: "What names begin with, in place of vault.", at: func(t any) any { return &t.(*Telemetry).MetricsPrefix }},
		{name: "filter_default", typ: tBool, def: "true", doc: "Whether a measurement passes that no prefix_filter names.", at: func(t any) any { return &t.(*Telemetry).FilterDefault }},
		{name: "prefix_filter", typ: tList, doc: "Prefixes to let pass (+) or not (-).", at: func(t any) any { return &t.(*Telemetry).PrefixFilter }},
		{name: "otlp_endpoint", typ: tString, ours: true, doc: "An OpenTelemetry collector that takes OTLP over HTTP, http(s)://host:port; the path is /v1/metrics unless the URL has one.", at: func(t any) any { return &t.(*Telemetry).OTLP.Endpoint }},
		{name: "otlp_interval", typ: tDur, def: "60s", ours: true, doc: "How often measurements are pushed to it.", at: func(t any) any { return &t.(*Telemetry).OTLP.Interval }},
		{name: "otlp_headers", typ: tMap, ours: true, doc: "Headers for each push, such as one that authenticates; never shown.", at: func(t any) any { return &t.(*Telemetry).OTLP.Headers }},
		{name: "circonus_*", typ: tString, doc: "Accepted, with a warning: nothing is sent to Circonus.", at: func(t any) any { return &t.(*Telemetry).Other }},
		{name: "stackdriver_*", typ: tString, doc: "Accepted, with a warning: nothing is sent to Google Cloud Monitoring.", at: func(t any) any { return &t.(*Telemetry).Other }},
		{name: "usage_gauge_period", ignored: serverOnly},
		{name: "maximum_gauge_cardinality", ignored: serverOnly},
		{name: "lease_metrics_epsilon", ignored: serverOnly},
		{name: "num_lease_metrics_buckets", ignored: serverOnly},
		{name: "add_lease_metrics_namespace_labels", ignored: serverOnly},
		{name: "add_mount_point_rollback_metrics", ignored: serverOnly},
	},
}
