package lambdaenv

// Whose a variable is.
const (
	fromVLE = "vault-lambda-extension"
	fromAPI = "Vault client"
	fromAWS = "AWS"
	ours    = "latchkey"
)

// variable is one row of the reference.
type variable struct {
	name string
	// def is the default as a user would write it, "" for none.
	def string
	doc string
	// differs is what vault-lambda-extension does otherwise, "" for nothing.
	differs string
	of      string
	// own says that nobody but the extension has a use for it, so that
	// latchkey-exec takes it out of the function's environment.
	own bool
}

// table holds every variable there is. A name that ends with * stands for all that
// begin so.
var table = []variable{
	{name: "VLE_VAULT_ADDR", of: fromVLE, own: true, doc: "The server's URL for the extension; wins over `VAULT_ADDR`, so that this can name the proxy for the function's own client.", differs: "The proxy drops a path in the URL, and a URL that names the proxy itself is not noticed."},
	{name: "VAULT_ADDR", of: fromAPI, doc: "The server's URL, when `VLE_VAULT_ADDR` is not set. One of the two has to be.", differs: "Without either it asks itself at 127.0.0.1:8200."},
	{name: "VAULT_AUTH_PROVIDER", of: fromVLE, own: true, doc: "Where the auth method is mounted, without `auth/`. Required, unless `LATCHKEY_AUTH_METHOD` is set; then the default is the method's name.", differs: "`auth/` in front is part of the path; here it is understood."},
	{name: "VAULT_AUTH_ROLE", of: fromVLE, own: true, doc: "The role to log in to. Required by the methods aws and jwt; for cert it is the name of a certificate role."},
	{name: "VAULT_IAM_SERVER_ID", of: fromVLE, own: true, doc: "For aws: the value of the signed header X-Vault-AWS-IAM-Server-ID."},
	{name: "VAULT_ASSUMED_ROLE_ARN", of: fromVLE, own: true, doc: "The role of AWS to assume first.", differs: "It is assumed anew at each login; here its credentials are used until they end."},
	{name: "VAULT_STS_ENDPOINT_REGION", of: fromVLE, own: true, doc: "The region whose STS is signed for. Not set means the global one, or `AWS_REGION` where `AWS_STS_REGIONAL_ENDPOINTS` is `regional`."},
	{name: "VAULT_SECRET_PATH", of: fromVLE, own: true, doc: "The API path of a secret that becomes a file, such as `secret/data/app` (with `data/` for version 2 of the key-value engine).", differs: "A path where nothing is yields a file that holds `null`; here the start fails."},
	{name: "VAULT_SECRET_FILE", def: "/tmp/vault/secret.json", of: fromVLE, doc: "Its file. What is not absolute is below /tmp/vault.", differs: "Without `VAULT_SECRET_PATH` it is ignored; here it is refused. Two secrets for one file are noticed only when spelled alike."},
	{name: "VAULT_SECRET_PATH_*", of: fromVLE, own: true, doc: "The path of a further secret. What * stands for only joins it to its file."},
	{name: "VAULT_SECRET_FILE_*", of: fromVLE, doc: "Its file; required."},
	{name: "VAULT_RUN_MODE", def: "default", of: fromVLE, own: true, doc: "`file`, `proxy`, or `default` for both; in any case.", differs: "A name in upper case switches both off, an unknown one means default."},
	{name: "VAULT_TOKEN_EXPIRY_GRACE_PERIOD", def: "10s", of: fromVLE, own: true, doc: "How long before its end a token counts as over."},
	{name: "VAULT_DEFAULT_CACHE_TTL", of: fromVLE, own: true, doc: "How long the proxy keeps an answer that is asked for with the header X-Vault-Cache-Control; never longer than its lease. 0, or not set, keeps none.", differs: "The lease is not looked at; a value that makes no sense, or is negative, switches the cache off."},
	{name: "VAULT_DEFAULT_CACHE_ENABLED", def: "false", of: fromVLE, own: true, doc: "Keep the answer to every GET, asked for or not; needs `VAULT_DEFAULT_CACHE_TTL`.", differs: "A value that makes no sense is false, and without the TTL it does nothing."},
	{name: "VAULT_LOG_LEVEL", def: "info", of: fromVLE, own: true, doc: "trace, debug, info, warn, error or off, in any case. Wins over `AWS_LAMBDA_LOG_LEVEL`.", differs: "An unknown level is info. Each invocation writes two lines at info; here none."},

	{name: "VAULT_NAMESPACE", of: fromAPI, doc: "The namespace of the login, of files, and of requests through the proxy that name none.", differs: "The proxy ignores it."},
	{name: "VAULT_CACERT", of: fromAPI, doc: "A file of CA certificates, PEM, such as one in /opt or /var/task."},
	{name: "VAULT_CACERT_BYTES", of: fromAPI, doc: "CA certificates themselves, PEM; `VAULT_CACERT` wins over them."},
	{name: "VAULT_CAPATH", of: fromAPI, doc: "A directory of CA certificates, PEM."},
	{name: "VAULT_CLIENT_CERT", of: fromAPI, doc: "The client's certificate, PEM; needs `VAULT_CLIENT_KEY`."},
	{name: "VAULT_CLIENT_KEY", of: fromAPI, doc: "Its key, PEM."},
	{name: "VAULT_TLS_SERVER_NAME", of: fromAPI, doc: "The name asked for (SNI) and expected in the server's certificate."},
	{name: "VAULT_SKIP_VERIFY", def: "false", of: fromAPI, doc: "Do not verify the server's certificate. Said in the log at each start: whoever is between gets the token."},
	{name: "VAULT_CLIENT_TIMEOUT", def: "60s", of: fromAPI, doc: "The limit for one request. Where that is longer than `LATCHKEY_INIT_BUDGET`, what the extension asks for itself has three eighths of the budget, and 3s at least, so that there is time for another try.", differs: "The proxy ignores it."},
	{name: "VAULT_MAX_RETRIES", def: "2", of: fromAPI, doc: "Retries of a request after the first try, while they may help.", differs: "The proxy ignores it."},
	{name: "VAULT_RATE_LIMIT", of: fromAPI, doc: "Requests per second, `n` or `n:burst`.", differs: "The proxy ignores it."},
	{name: "VAULT_HEADERS", of: fromAPI, own: true, doc: "Headers for every request, a JSON object; names may not begin with X-Vault-.", differs: "The proxy ignores it."},
	{name: "VAULT_SRV_LOOKUP", def: "false", of: fromAPI, doc: "Look the address up as a DNS SRV record.", differs: "The proxy ignores it."},
	{name: "VAULT_PROXY_ADDR", of: fromAPI, doc: "An HTTP or SOCKS proxy on the way to the server."},
	{name: "VAULT_HTTP_PROXY", of: fromAPI, doc: "Its older name; `VAULT_PROXY_ADDR` wins."},
	{name: "VAULT_DISABLE_REDIRECTS", def: "false", of: fromAPI, doc: "Do not follow redirects.", differs: "The proxy hands redirects on in any case."},
	{name: "VAULT_LOG_FORMAT", def: "standard", of: fromAPI, own: true, doc: "standard or json. Wins over `AWS_LAMBDA_LOG_FORMAT`.", differs: "Not known."},
	{name: "BAO_*", of: fromAPI, doc: "Each variable of the Vault client with `BAO_` in place of `VAULT_`; wins over that one.", differs: "Not known."},
	{name: "VAULT_AGENT_ADDR", of: fromAPI, doc: "Not looked at: it could point the extension at itself.", differs: "The login goes there, and the proxy elsewhere."},
	{name: "VAULT_TOKEN", of: fromAPI, doc: "Not looked at: the extension logs in."},

	{name: "AWS_LAMBDA_INITIALIZATION_TYPE", def: "on-demand", of: fromAWS, doc: "Set by Lambda: how the environment was started."},
	{name: "AWS_LAMBDA_LOG_LEVEL", of: fromAWS, doc: "Set by Lambda, as the function's logging configuration says.", differs: "Not looked at."},
	{name: "AWS_LAMBDA_LOG_FORMAT", of: fromAWS, doc: "Set by Lambda: JSON or Text.", differs: "Not looked at."},
	{name: "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", of: fromAWS, doc: "Set by Lambda: an eighth of it is what the cache may take."},
	{name: "AWS_LAMBDA_FUNCTION_TIMEOUT", of: fromAWS, doc: "Set by the emulator, in seconds: the start takes less."},
	{name: "AWS_STS_REGIONAL_ENDPOINTS", def: "legacy", of: fromAWS, doc: "`regional`: see `VAULT_STS_ENDPOINT_REGION`."},
	{name: "AWS_REGION", of: fromAWS, doc: "Set by Lambda: the region of the function."},

	{name: "LATCHKEY_AUTH_METHOD", def: "aws", of: ours, own: true, doc: "aws, aws_web_identity, approle, jwt or cert; with the full layer, every method."},
	{name: "LATCHKEY_AUTH_NAMESPACE", of: ours, own: true, doc: "The namespace to log in to; by default `VAULT_NAMESPACE`. Where that is not set, it is the one of all requests."},
	{name: "LATCHKEY_AUTH_MOUNT_PATH", of: ours, own: true, doc: "Where the method is mounted, with `auth/`; another way to say `VAULT_AUTH_PROVIDER`."},
	{name: "LATCHKEY_AUTH_MIN_BACKOFF", def: "1s", of: ours, own: true, doc: "The wait after a first failed login."},
	{name: "LATCHKEY_AUTH_MAX_BACKOFF", def: "30s", of: ours, own: true, doc: "The longest wait between two logins."},
	{name: "LATCHKEY_AUTH_*", of: ours, own: true, doc: "A key of the method, in upper case: `LATCHKEY_AUTH_AUDIENCE` is audience. Keys that hold tags are written `name=value,name=value`, or as a JSON object."},
	{name: "LATCHKEY_ASSUME_ROLE_*", of: ours, own: true, doc: "More about `VAULT_ASSUMED_ROLE_ARN`: EXTERNAL_ID, SESSION_NAME, DURATION, TAGS, STS_ENDPOINT."},
	{name: "LATCHKEY_FILE_MODE", def: "0600", of: ours, own: true, doc: "The mode of files of secrets, octal.", differs: "0644."},
	{name: "LATCHKEY_DIR_MODE", def: "0700", of: ours, own: true, doc: "The mode of directories that are made for them, octal.", differs: "0755."},
	{name: "LATCHKEY_REFRESH_INTERVAL", def: "5m", of: ours, own: true, doc: "How often a secret without a lease is read again, inside an invocation; 0 for never. One with a lease is read again before its end in any case.", differs: "Files are written once."},
	{name: "LATCHKEY_FAIL", def: "closed", of: ours, own: true, doc: "`closed` fails the start of the function when its secrets are not there. `open` lets it start, answers 503 and goes on trying.", differs: "Always closed."},
	{name: "LATCHKEY_INIT_BUDGET", def: "8s", of: ours, own: true, doc: "How long the start may take, cut to what Lambda grants; 4s where `LATCHKEY_FAIL` is open, so that there is time for the function to start."},
	{name: "LATCHKEY_SNAPSTART", def: "invoke", of: ours, own: true, doc: "`invoke` logs in after a snapshot was restored. `init` does it before it is taken, so that the snapshot holds a token and secrets."},
	{name: "LATCHKEY_REVOKE_ON_SHUTDOWN", def: "false", of: ours, own: true, doc: "Have the server end the token, and all leases made with it, at shutdown."},
	{name: "LATCHKEY_CONFIG", of: ours, own: true, doc: "With the full layer: a configuration file, such as /var/task/latchkey.hcl, or the configuration itself, which no path looks like: it holds a `{`."},
	{name: "LATCHKEY_ENV_KEEP", of: ours, own: true, doc: "Names, with commas between them, that latchkey-exec leaves in the function's environment though they are for the extension."},
	{name: "LATCHKEY_LISTEN", def: "127.0.0.1:8200", of: ours, own: true, doc: "Where the proxy listens: a port, host:port, or the path of a unix socket.", differs: "Always 127.0.0.1:8200."},
	{name: "LATCHKEY_REQUIRE_REQUEST_HEADER", def: "false", of: ours, own: true, doc: "Refuse requests without the header X-Vault-Request: true, which no URL that a function is made to fetch can bring."},
	{name: "LATCHKEY_GUARD", def: "false", of: ours, own: true, doc: "Refuse what a browser or another proxy sends."},
	{name: "LATCHKEY_CALLER_TOKEN_FILE", of: ours, own: true, doc: "A file with a token that every request has to show in the header X-Latchkey-Token."},
	{name: "LATCHKEY_CALLER_TOKEN_ENV", of: ours, own: true, doc: "The variable that holds that token."},
	{name: "LATCHKEY_ALLOW_PATHS", of: ours, own: true, doc: "Paths of the API, with commas between them, that alone are served: * at the end stands for anything, + for one part."},
	{name: "LATCHKEY_READ_ONLY", def: "false", of: ours, own: true, doc: "Refuse all methods but GET, HEAD and LIST."},
	{name: "LATCHKEY_MAX_CONNECTIONS", def: "512", of: ours, own: true, doc: "How many connections to the proxy are open at a time; 0 is no limit."},
	{name: "LATCHKEY_MAX_HEADER_SIZE", def: "0", of: ours, own: true, doc: "How large all headers of a request may be; 0 is 1 MiB."},
	{name: "LATCHKEY_MAX_BODY_SIZE", def: "0", of: ours, own: true, doc: "How large a request's body may be; 0 is no limit."},
	{name: "LATCHKEY_REQUEST_TIMEOUT", def: "0", of: ours, own: true, doc: "How long a request may take until its answer begins; 0 is no limit beside that of the client."},
}

// Own are the names of variables that nobody but the extension has a use for, and
// prefixes of such names, which end with *.
func Own() []string {
	names := []string{"LATCHKEY_*"}
	for i := range table {
		if v := &table[i]; v.own && v.of != ours {
			names = append(names, v.name)
			if v.of == fromAPI {
				names = append(names, "BAO_"+v.name[len("VAULT_"):])
			}
		}
	}
	return names
}
