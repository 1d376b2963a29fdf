package lambdaenv

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/hcl"
)

// minimal is what vault-lambda-extension needs.
var minimal = []string{"VAULT_ADDR=https://vault.example.com:8200", "VAULT_AUTH_PROVIDER=aws", "VAULT_AUTH_ROLE=lambda"}

func with(more ...string) []string { return slices.Concat(more, minimal) }

func read(t *testing.T, environ ...string) *Settings {
	t.Helper()
	s, err := Read(environ)
	if err != nil {
		t.Fatalf("%q: %v", environ, err)
	}
	return s
}

func TestTheDefaultsAreThoseOfVaultLambdaExtensionOrSafer(t *testing.T) {
	s := read(t, minimal...)
	f := s.File
	if !s.Files || !s.Proxy || s.Listen != "127.0.0.1:8200" || s.Grace != 10*time.Second || s.CacheTTL != 0 || s.FailOpen || s.Revoke ||
		s.FileMode != 0o600 || s.DirMode != 0o700 || s.Refresh != 5*time.Minute || s.InitBudget != 8*time.Second || s.InitType != OnDemand ||
		s.LogLevel != slog.LevelInfo || s.LogJSON || s.InitLogin || len(s.Secrets)+len(s.Warnings)+len(s.EnvKeep) > 0 {
		t.Errorf("settings are %#v", *s)
	}
	if f.Vault.Address != "https://vault.example.com:8200" || f.Vault.NumRetries != 2 || f.Vault.ClientTimeout != time.Minute {
		t.Errorf("vault is %+v", f.Vault)
	}
	m := f.AutoAuth.Method
	if m.Type != "aws" || m.MountPath != "auth/aws" || m.MinBackoff != time.Second || !slices.Equal(m.Config.Keys(), []string{"role", "type"}) {
		t.Errorf("method is %+v with %v", m, m.Config.Keys())
	}
	if len(f.Listeners) != 1 || f.Listeners[0].Address != "127.0.0.1:8200" || !f.Listeners[0].TLSDisable || f.Listeners[0].Type != "tcp" {
		t.Errorf("listeners are %+v", f.Listeners)
	}
	if f.Cache != nil || f.APIProxy.UseAutoAuthToken != config.AutoAuthTokenYes {
		t.Errorf("cache is %+v, api_proxy %+v", f.Cache, f.APIProxy)
	}
}

func TestWhatMakesNoSenseIsRefusedByName(t *testing.T) {
	for _, c := range []struct {
		env  []string
		want string // the beginning of the one problem
	}{
		// what every function needs
		{[]string{"VAULT_AUTH_PROVIDER=aws", "VAULT_AUTH_ROLE=r"}, "VAULT_ADDR: is required"},
		{[]string{"VAULT_ADDR=https://v", "VAULT_AUTH_ROLE=r"}, "VAULT_AUTH_PROVIDER: is required"},
		{[]string{"VAULT_ADDR=https://v", "VAULT_AUTH_PROVIDER=aws"}, "VAULT_AUTH_ROLE: is required"},
		{[]string{"VAULT_ADDR=https://v", "VAULT_AUTH_PROVIDER=aws", "VAULT_AUTH_ROLE= \t"}, "VAULT_AUTH_ROLE: is required"},
		{[]string{"VAULT_ADDR=https://v", "LATCHKEY_AUTH_METHOD=jwt"}, "VAULT_AUTH_ROLE: is required"},
		// the address
		{[]string{"VAULT_ADDR=vault:8200", "VAULT_AUTH_PROVIDER=aws", "VAULT_AUTH_ROLE=r"}, "VAULT_ADDR: is not a URL"},
		{with("VLE_VAULT_ADDR=nonsense"), "VLE_VAULT_ADDR: is not a URL"},
		{with("BAO_ADDR=nonsense"), "BAO_ADDR: is not a URL"},
		{with("VLE_VAULT_ADDR=http://127.0.0.1:8200"), "VLE_VAULT_ADDR: is the address of the extension's own proxy"},
		// the log
		{with("VAULT_LOG_LEVEL=chatty"), "VAULT_LOG_LEVEL: must be trace, debug, info, warn, error or off"},
		{with("VAULT_LOG_FORMAT=xml"), "VAULT_LOG_FORMAT: must be standard or json"},
		// the mode
		{with("VAULT_RUN_MODE=prox"), "VAULT_RUN_MODE: must be default, file or proxy (did you mean \"proxy\"?)"},
		{with("VAULT_TOKEN_EXPIRY_GRACE_PERIOD=soon"), "VAULT_TOKEN_EXPIRY_GRACE_PERIOD: must be a duration"},
		{with("VAULT_TOKEN_EXPIRY_GRACE_PERIOD=-1s"), "VAULT_TOKEN_EXPIRY_GRACE_PERIOD: must not be negative"},
		{with("VAULT_DEFAULT_CACHE_TTL=5 minutes"), "VAULT_DEFAULT_CACHE_TTL: must be a duration"},
		{with("VAULT_DEFAULT_CACHE_TTL=-5m"), "VAULT_DEFAULT_CACHE_TTL: must not be negative"},
		{with("VAULT_DEFAULT_CACHE_ENABLED=yes"), "VAULT_DEFAULT_CACHE_ENABLED: must be true or false"},
		{with("VAULT_DEFAULT_CACHE_ENABLED=true"), "VAULT_DEFAULT_CACHE_ENABLED: needs VAULT_DEFAULT_CACHE_TTL"},
		{with("VAULT_DEFAULT_CACHE_ENABLED=true", "VAULT_DEFAULT_CACHE_TTL=x"), "VAULT_DEFAULT_CACHE_TTL: must be a duration"},
		// secrets
		{with("VAULT_SECRET_FILE=/tmp/x"), "VAULT_SECRET_FILE: needs VAULT_SECRET_PATH"},
		{with("VAULT_SECRET_PATH_DB=a"), "VAULT_SECRET_PATH_DB: needs VAULT_SECRET_FILE_DB"},
		{with("VAULT_SECRET_FILE_DB=a"), "VAULT_SECRET_FILE_DB: needs VAULT_SECRET_PATH_DB"},
		{with("VAULT_SECRET_PATH_DB=a", "VAULT_SECRET_FILE_DB= "), "VAULT_SECRET_PATH_DB: needs VAULT_SECRET_FILE_DB"},
		{with("VAULT_SECRET_PATH_=a"), "VAULT_SECRET_PATH_: ends with an underscore"},
		{with("VAULT_SECRET_FILE_=a"), "VAULT_SECRET_FILE_: ends with an underscore"},
		{with("VAULT_SECRET_PATH=/"), "VAULT_SECRET_PATH: is no path"},
		{with("VAULT_SECRET_PATH=a/../b"), "VAULT_SECRET_PATH: may not hold .."},
		{with("VAULT_SECRET_PATH=a\nb"), "VAULT_SECRET_PATH: holds a control"},
		{with("VAULT_SECRET_PATH=a", "VAULT_SECRET_FILE=b/"), "VAULT_SECRET_FILE: names a directory"},
		{with("VAULT_SECRET_PATH=a", "VAULT_SECRET_PATH_B=b", "VAULT_SECRET_FILE_B=/tmp/./vault//secret.json"), "VAULT_SECRET_FILE_B: is the file of VAULT_SECRET_FILE too: /tmp/vault/secret.json"},
		{with("VAULT_SECRET_PATH_A=a", "VAULT_SECRET_FILE_A=x", "VAULT_SECRET_PATH_B=b", "VAULT_SECRET_FILE_B=x/y"), "VAULT_SECRET_FILE_B: lies below /tmp/vault/x, which is the file of VAULT_SECRET_FILE_A"},
		// the client
		{with("VAULT_MAX_RETRIES=many"), "VAULT_MAX_RETRIES: must be a whole number"},
		{with("VAULT_CLIENT_TIMEOUT=x"), "VAULT_CLIENT_TIMEOUT: must be a duration"},
		{with("VAULT_SKIP_VERIFY=maybe"), "VAULT_SKIP_VERIFY: must be true or false"},
		{with("VAULT_HEADERS=x"), "VAULT_HEADERS: must be a JSON object, or Name=value"},
		{with(`VAULT_HEADERS={"X-Vault-Token":"x"}`), `VAULT_HEADERS: header "X-Vault-Token" may not be set`},
		{with("VAULT_RATE_LIMIT=x"), "VAULT_RATE_LIMIT: must be a number"},
		{with("VAULT_CLIENT_CERT=/opt/c.pem"), "VAULT_CLIENT_CERT: needs client_key too"},
		// the login
		{with("VAULT_AUTH_PROVIDER=/"), "VAULT_AUTH_PROVIDER: is no path"},
		{with("LATCHKEY_AUTH_ROLE=other"), "LATCHKEY_AUTH_ROLE: is not what VAULT_AUTH_ROLE says"},
		{with("LATCHKEY_AUTH_MOUNT_PATH=auth/other"), "LATCHKEY_AUTH_MOUNT_PATH: is not what VAULT_AUTH_PROVIDER says"},
		{with("LATCHKEY_ASSUME_ROLE_TAGS=x"), "LATCHKEY_ASSUME_ROLE_TAGS: must be name=value"},
		{with("LATCHKEY_ASSUME_ROLE_TAGS=a=1,a=2"), "LATCHKEY_ASSUME_ROLE_TAGS: must be name=value"},
		{with("LATCHKEY_ASSUME_ROLE_TAGS={"), "LATCHKEY_ASSUME_ROLE_TAGS: must be name=value"},
		{with("LATCHKEY_AUTH_MIN_BACKOFF=x"), "LATCHKEY_AUTH_MIN_BACKOFF: must be a duration"},
		{with("LATCHKEY_AUTH_MIN_BACKOFF=1h"), "LATCHKEY_AUTH_MIN_BACKOFF: must not be greater than max_backoff"},
		// latchkey's own
		{with("LATCHKEY_FAIL=openly"), "LATCHKEY_FAIL: must be closed or open (did you mean \"open\"?)"},
		{with("LATCHKEY_FILE_MODE=rw"), "LATCHKEY_FILE_MODE: must be a file mode"},
		{with("LATCHKEY_DIR_MODE=1777"), "LATCHKEY_DIR_MODE: is no file mode"},
		{with("LATCHKEY_REFRESH_INTERVAL=x"), "LATCHKEY_REFRESH_INTERVAL: must be a duration"},
		{with("LATCHKEY_INIT_BUDGET=0"), "LATCHKEY_INIT_BUDGET: must be more than 0"},
		{with("LATCHKEY_SNAPSTART=never"), "LATCHKEY_SNAPSTART: must be invoke or init"},
		{with("LATCHKEY_REVOKE_ON_SHUTDOWN=2"), "LATCHKEY_REVOKE_ON_SHUTDOWN: must be true or false"},
		{with("LATCHKEY_LISTN=8300"), "LATCHKEY_LISTN: is no variable of latchkey (did you mean \"LATCHKEY_LISTEN\"?)"},
		{with("LATCHKEY_SOMETHING_ELSE=1"), "LATCHKEY_SOMETHING_ELSE: is no variable of latchkey (docs/lambda-environment.md has all there are)"},
		{with("LATCHKEY_AUTH_=1"), "LATCHKEY_AUTH_: is no variable of latchkey"},
		{with("LATCHKEY_LISTEN=nowhere"), "LATCHKEY_LISTEN: must be a port"},
		{with("LATCHKEY_LISTEN=localhost:99999"), "LATCHKEY_LISTEN: must be a port"},
		{with("LATCHKEY_LISTEN=9001"), "LATCHKEY_LISTEN: is a port of Lambda itself"},
		{with("LATCHKEY_GUARD=on"), "LATCHKEY_GUARD: must be true or false"},
		{with("LATCHKEY_MAX_BODY_SIZE=big"), "LATCHKEY_MAX_BODY_SIZE: must be a size"},
		{with("LATCHKEY_MAX_CONNECTIONS=-1"), "LATCHKEY_MAX_CONNECTIONS: must not be negative"},
		{with("LATCHKEY_CALLER_TOKEN_FILE=/x", "LATCHKEY_CALLER_TOKEN_ENV=Y"), "LATCHKEY_CALLER_TOKEN_ENV: is set beside caller_token_file"},
	} {
		t.Run(strings.Join(c.env[:1], " "), func(t *testing.T) {
			_, err := Read(c.env)
			probs, ok := err.(config.Problems)
			if !ok || len(probs) != 1 || !strings.HasPrefix(probs[0].Error(), c.want) {
				t.Errorf("%q: got %v, want %s", c.env, err, c.want)
			}
		})
	}
}

func TestAllThatIsWrongIsToldAtOnce(t *testing.T) {
	_, err := Read([]string{
		"VAULT_RUN_MODE=x", "VAULT_SECRET_FILE=x", "VAULT_LOG_LEVEL=x", "LATCHKEY_FAIL=x", "LATCHKEY_GUARD=x", "VAULT_MAX_RETRIES=x", "LATCHKEY_X=1",
		"VAULT_DEFAULT_CACHE_TTL=x", "LATCHKEY_FILE_MODE=x",
	})
	for _, name := range []string{
		"VAULT_RUN_MODE", "VAULT_SECRET_FILE", "VAULT_LOG_LEVEL", "LATCHKEY_FAIL", "LATCHKEY_GUARD", "VAULT_MAX_RETRIES", "LATCHKEY_X",
		"VAULT_AUTH_PROVIDER", "VAULT_AUTH_ROLE", "VAULT_DEFAULT_CACHE_TTL", "LATCHKEY_FILE_MODE",
	} {
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+name+": ") {
			t.Errorf("%s is not among\n%v", name, err)
		}
	}
}

func TestWhatIsTaken(t *testing.T) {
	for _, c := range []struct {
		env  []string
		what string // of the settings
		want any
	}{
		{with("VAULT_RUN_MODE=PROXY"), "Files", false},
		{with("VAULT_RUN_MODE=PROXY"), "Proxy", true},
		{with("VAULT_RUN_MODE= File "), "Files", true},
		{with("VAULT_RUN_MODE= File "), "Proxy", false},
		{with("VAULT_RUN_MODE=File"), "File.Listeners", []config.Listener(nil)},
		{with("VAULT_RUN_MODE=DEFAULT"), "Proxy", true},
		{with("VLE_VAULT_ADDR=http://v:1"), "File.Vault.Address", "http://v:1"},
		{with("VLE_VAULT_ADDR=http://v:1", "BAO_ADDR=http://b:1"), "File.Vault.Address", "http://v:1"},
		{with("BAO_ADDR=http://b:1"), "File.Vault.Address", "http://b:1"},
		{with("VAULT_AGENT_ADDR=http://127.0.0.1:8200"), "File.Vault.Address", "https://vault.example.com:8200"},
		{[]string{"VAULT_ADDR= https://v ", "VAULT_AUTH_PROVIDER= aws ", "VAULT_AUTH_ROLE=\tr\n"}, "File.Vault.Address", "https://v"},
		{[]string{"VAULT_ADDR=https://v", "VAULT_AUTH_PROVIDER=/auth/team/aws/", "VAULT_AUTH_ROLE=r"}, "File.AutoAuth.Method.MountPath", "auth/team/aws"},
		{[]string{"VAULT_ADDR=https://v", "LATCHKEY_AUTH_METHOD=AppRole", "LATCHKEY_AUTH_ROLE_ID=x"}, "File.AutoAuth.Method.MountPath", "auth/approle"},
		{[]string{"VAULT_ADDR=https://v", "LATCHKEY_AUTH_METHOD=jwt", "LATCHKEY_AUTH_MOUNT_PATH=auth/x/", "VAULT_AUTH_ROLE=r"}, "File.AutoAuth.Method.MountPath", "auth/x"},
		{with("LATCHKEY_AUTH_NAMESPACE=team"), "File.AutoAuth.Method.Namespace", "team/"},
		{with("LATCHKEY_AUTH_MAX_BACKOFF=10s"), "File.AutoAuth.Method.MaxBackoff", 10 * time.Second},
		{with("LATCHKEY_AUTH_ROLE=lambda"), "File.AutoAuth.Method.Type", "aws"},
		{with("VAULT_NAMESPACE=/team/"), "File.Vault.Namespace", "team"},
		{with("VAULT_CACERT_BYTES=PEM"), "File.Vault.CACertPEM", "PEM"},
		{with("VAULT_CACERT=/opt/ca.pem"), "File.Vault.CACert", "/opt/ca.pem"},
		{with("VAULT_CAPATH=/opt/ca"), "File.Vault.CAPath", "/opt/ca"},
		{with("VAULT_TLS_SERVER_NAME=v"), "File.Vault.TLSServerName", "v"},
		{with("VAULT_CLIENT_TIMEOUT=5"), "File.Vault.ClientTimeout", 5 * time.Second},
		{with("VAULT_MAX_RETRIES=0"), "File.Vault.NumRetries", 0},
		{with("VAULT_MAX_RETRIES=7"), "File.Vault.NumRetries", 7},
		{with("VAULT_RATE_LIMIT=10:20"), "File.Vault.RateBurst", 20},
		{with(`VAULT_HEADERS={"X-Team":"blue"}`), "File.Vault.Headers", config.Headers{"X-Team": "blue"}},
		{with("VAULT_HTTP_PROXY=http://p", "VAULT_PROXY_ADDR=http://q"), "File.Vault.ProxyAddress", "http://q"},
		{with("VAULT_SRV_LOOKUP=true"), "File.Vault.SRVLookup", true},
		{with("VAULT_DISABLE_REDIRECTS=1"), "File.Vault.DisableRedirects", true},
		{with("VAULT_TOKEN_EXPIRY_GRACE_PERIOD=100ms"), "Grace", 100 * time.Millisecond},
		{with("VAULT_TOKEN_EXPIRY_GRACE_PERIOD=0s"), "Grace", time.Duration(0)},
		{with("VAULT_DEFAULT_CACHE_TTL=15m"), "CacheTTL", 15 * time.Minute},
		{with("VAULT_DEFAULT_CACHE_TTL=15m"), "File.Cache", (*config.Cache)(nil)}, // what nobody asks to be cached is not
		{with("VAULT_DEFAULT_CACHE_TTL=15m"), "CacheBytes", int64(16 << 20)},
		{with("VAULT_DEFAULT_CACHE_TTL=15m", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=1024"), "CacheBytes", int64(128 << 20)},
		{with("VAULT_DEFAULT_CACHE_TTL=15m", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=10240"), "CacheBytes", int64(256 << 20)},
		{with("VAULT_DEFAULT_CACHE_TTL=15m", "VAULT_DEFAULT_CACHE_ENABLED=T"), "CacheEvery", true},
		{with("VAULT_DEFAULT_CACHE_TTL=0"), "CacheTTL", time.Duration(0)}, // off, as it is with vault-lambda-extension
		{with("VAULT_DEFAULT_CACHE_TTL=0s", "VAULT_DEFAULT_CACHE_ENABLED=true"), "CacheEvery", false},
		{with("VAULT_DEFAULT_CACHE_ENABLED=false"), "CacheEvery", false},
		{with("VAULT_LOG_LEVEL=OFF"), "LogLevel", LogOff},
		{with("VAULT_LOG_LEVEL=Trace"), "LogLevel", slog.LevelDebug - 4},
		{with("AWS_LAMBDA_LOG_LEVEL=FATAL"), "LogLevel", slog.LevelError},
		{with("AWS_LAMBDA_LOG_LEVEL=DEBUG"), "LogLevel", slog.LevelDebug},
		{with("AWS_LAMBDA_LOG_LEVEL=DEBUG", "VAULT_LOG_LEVEL=warn"), "LogLevel", slog.LevelWarn},
		{with("AWS_LAMBDA_LOG_LEVEL=unheard of"), "LogLevel", slog.LevelInfo},
		{with("AWS_LAMBDA_LOG_FORMAT=JSON"), "LogJSON", true},
		{with("AWS_LAMBDA_LOG_FORMAT=Text"), "LogJSON", false},
		{with("AWS_LAMBDA_LOG_FORMAT=JSON", "VAULT_LOG_FORMAT=standard"), "LogJSON", false},
		{with("LATCHKEY_FILE_MODE=644"), "FileMode", "-rw-r--r--"},
		{with("LATCHKEY_DIR_MODE=0755"), "DirMode", "-rwxr-xr-x"},
		{with("LATCHKEY_REFRESH_INTERVAL=0"), "Refresh", time.Duration(0)},
		{with("LATCHKEY_FAIL=OPEN"), "FailOpen", true},
		{with("LATCHKEY_SNAPSTART=init"), "InitLogin", true},
		{with("LATCHKEY_REVOKE_ON_SHUTDOWN=true"), "Revoke", true},
		{with("LATCHKEY_ENV_KEEP=VAULT_AUTH_ROLE, VAULT_RUN_MODE,"), "EnvKeep", []string{"VAULT_AUTH_ROLE", "VAULT_RUN_MODE"}},
		{with("LATCHKEY_LISTEN=8300"), "File.Listeners.0.Address", "127.0.0.1:8300"},
		{with("LATCHKEY_LISTEN=localhost:8300"), "Listen", "localhost:8300"},
		{with("LATCHKEY_LISTEN=/tmp/v.sock"), "File.Listeners.0.Type", "unix"},
		{with("LATCHKEY_LISTEN=unix:///tmp/v.sock"), "Listen", "/tmp/v.sock"},
		{with("LATCHKEY_REQUIRE_REQUEST_HEADER=true"), "File.Listeners.0.RequireRequestHeader", true},
		{with("LATCHKEY_GUARD=true"), "File.Listeners.0.Guard", true},
		{with("LATCHKEY_ALLOW_PATHS=secret/data/a/*, db/creds/+"), "File.Listeners.0.AllowPaths", []string{"secret/data/a/*", "db/creds/+"}},
		{with("LATCHKEY_READ_ONLY=true"), "File.Listeners.0.ReadOnly", true},
		{with("LATCHKEY_MAX_HEADER_SIZE=64KiB"), "File.Listeners.0.MaxHeaderSize", 64 << 10},
		{with("LATCHKEY_REQUEST_TIMEOUT=2s"), "File.Listeners.0.RequestTimeout", 2 * time.Second},
		{with("VAULT_ADDR=", "LATCHKEY_X="), "Proxy", true},
	} {
		t.Run(strings.Join(c.env[:1], " ")+" "+c.what, func(t *testing.T) {
			env := c.env
			if env[0] == "VAULT_ADDR=" { // an empty variable is none, and the first of two counts
				env = slices.Concat(minimal, env)
			}
			v := reflect.ValueOf(read(t, env...)).Elem()
			for name := range strings.SplitSeq(c.what, ".") {
				if v.Kind() == reflect.Pointer {
					v = v.Elem()
				}
				if v.Kind() == reflect.Slice {
					v = v.Index(0)
					continue
				}
				v = v.FieldByName(name)
			}
			got := v.Interface()
			if _, isMode := c.want.(string); isMode && c.what != "Listen" {
				got = fmt.Sprint(got)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%q: %s is %v, want %v", c.env, c.what, got, c.want)
			}
		})
	}
}

func TestSecretsOfVaultLambdaExtension(t *testing.T) {
	for _, c := range []struct {
		name string
		env  []string
		want []Secret
	}{
		{"none", nil, nil},
		{"the one without a name", []string{"VAULT_SECRET_PATH=kv/data/foo"}, []Secret{{"", "kv/data/foo", "/tmp/vault/secret.json", "VAULT_SECRET_PATH"}}},
		{"with a file below the directory", []string{"VAULT_SECRET_PATH=/kv//data/foo/", "VAULT_SECRET_FILE=foo"}, []Secret{{"", "kv/data/foo", "/tmp/vault/foo", "VAULT_SECRET_PATH"}}},
		{"two with names and blanks", []string{"VAULT_SECRET_PATH_FOO= kv/foo ", "VAULT_SECRET_FILE_FOO= /kv/foo", "VAULT_SECRET_PATH_BAR=kv/bar", "VAULT_SECRET_FILE_BAR=/tmp/x/../bar"},
			[]Secret{{"BAR", "kv/bar", "/tmp/bar", "VAULT_SECRET_PATH_BAR"}, {"FOO", "kv/foo", "/kv/foo", "VAULT_SECRET_PATH_FOO"}}},
		{"names tell case apart and may hold underscores", []string{"VAULT_SECRET_PATH_a_B=p", "VAULT_SECRET_FILE_a_B=f"}, []Secret{{"a_B", "p", "/tmp/vault/f", "VAULT_SECRET_PATH_a_B"}}},
		{"empty pairs are none", []string{"VAULT_SECRET_PATH=", "VAULT_SECRET_PATH_X=", "VAULT_SECRET_FILE_X="}, nil},
		{"in mode proxy", []string{"VAULT_RUN_MODE=proxy", "VAULT_SECRET_PATH=p", "VAULT_SECRET_FILE_HALF=x", "VAULT_SECRET_PATH_=y"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := read(t, with(c.env...)...)
			if !slices.Equal(s.Secrets, c.want) {
				t.Errorf("got %+v, want %+v", s.Secrets, c.want)
			}
			if warned := len(s.Warnings) == 1; warned != (c.name == "in mode proxy") {
				t.Errorf("warnings are %q", s.Warnings)
			}
		})
	}
}

func TestTheFunctionsOwnAddressIsNotTakenForTheServers(t *testing.T) {
	for _, c := range []struct {
		address, listen, mode string
		loop                  bool
	}{
		{"http://127.0.0.1:8200", "", "", true},
		{"http://localhost:8200/", "", "", true},
		{"https://[::1]:8200", "", "", true},
		{"http://127.0.0.2:8200", "", "", true},
		{"http://0.0.0.0:8200", "", "", true},
		{"http://127.0.0.1:8201", "", "", false},
		{"http://127.0.0.1:8200", "8300", "", false},
		{"http://127.0.0.1:8300", "8300", "", true},
		{"http://127.0.0.1", "80", "", true},
		{"https://127.0.0.1", "80", "", false},
		{"unix:///tmp/v.sock", "/tmp/v.sock", "", true},
		{"http://127.0.0.1:8200", "/tmp/v.sock", "", false},
		{"http://127.0.0.1:8200", "", "file", false},
		{"http://vault.internal:8200", "", "", false},
	} {
		env := []string{"VAULT_ADDR=" + c.address, "LATCHKEY_LISTEN=" + c.listen, "VAULT_RUN_MODE=" + c.mode, "VAULT_AUTH_PROVIDER=aws", "VAULT_AUTH_ROLE=r"}
		_, err := Read(env)
		if loop := err != nil && strings.HasPrefix(err.Error(), "VAULT_ADDR: is the address of the extension's own proxy"); loop != c.loop || !loop && err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if s, err := Read(append(env, "VLE_VAULT_ADDR=https://v")); err != nil || s.File.Vault.Address != "https://v" || s.Origins.Of("vault.address") != "env VLE_VAULT_ADDR" {
			t.Errorf("%+v, with VLE_VAULT_ADDR: %v", c, err)
		}
	}
}

func TestTheBlockOfTheMethod(t *testing.T) {
	type block map[string]string
	for _, c := range []struct {
		name string
		env  []string
		want block
	}{
		{"all of vault-lambda-extension", with("VAULT_IAM_SERVER_ID=id", "VAULT_ASSUMED_ROLE_ARN=arn:x", "VAULT_STS_ENDPOINT_REGION=eu-west-1"),
			block{"type": "iam", "role": "lambda", "header_value": "id", "assume_role_arn": "arn:x", "region": "eu-west-1"}},
		{"what it cannot say", with("VAULT_ASSUMED_ROLE_ARN=arn:x", "LATCHKEY_ASSUME_ROLE_EXTERNAL_ID=e", "LATCHKEY_ASSUME_ROLE_SESSION_NAME=s", "LATCHKEY_ASSUME_ROLE_DURATION=30m", "LATCHKEY_ASSUME_ROLE_TAGS=a=1, b = x=y "),
			block{"type": "iam", "role": "lambda", "assume_role_arn": "arn:x", "assume_role_external_id": "e", "assume_role_session_name": "s", "assume_role_duration": "30m", "assume_role_tags.a": "1", "assume_role_tags.b": "x=y"}},
		{"tags as JSON", with(`LATCHKEY_ASSUME_ROLE_TAGS={"a":"1,2"}`), block{"type": "iam", "role": "lambda", "assume_role_tags.a": "1,2"}},
		{"the global STS", with("AWS_REGION=eu-west-1"), block{"type": "iam", "role": "lambda"}},
		{"the region's STS", with("AWS_REGION=eu-west-1", "AWS_STS_REGIONAL_ENDPOINTS=regional"), block{"type": "iam", "role": "lambda", "region": "eu-west-1"}},
		{"a region that is said", with("AWS_REGION=eu-west-1", "AWS_STS_REGIONAL_ENDPOINTS=regional", "VAULT_STS_ENDPOINT_REGION=us-east-2"), block{"type": "iam", "role": "lambda", "region": "us-east-2"}},
		{"a web identity", []string{"VAULT_ADDR=https://v", "LATCHKEY_AUTH_METHOD=aws_web_identity", "LATCHKEY_AUTH_AUDIENCE=vault", "LATCHKEY_AUTH_TAGS=a=1", "AWS_STS_REGIONAL_ENDPOINTS=regional", "AWS_REGION=x"},
			block{"audience": "vault", "tags.a": "1"}},
		{"approle", []string{"VAULT_ADDR=https://v", "LATCHKEY_AUTH_METHOD=approle", "LATCHKEY_AUTH_ROLE_ID_FILE_PATH=/var/task/role"}, block{"role_id_file_path": "/var/task/role"}},
		{"a secret_id that outlives a restart", []string{"VAULT_ADDR=https://v", "LATCHKEY_AUTH_METHOD=approle", "LATCHKEY_AUTH_SECRET_ID_FILE_PATH=/s"},
			block{"secret_id_file_path": "/s", "remove_secret_id_file_after_reading": "false"}},
		{"one to be removed", []string{"VAULT_ADDR=https://v", "LATCHKEY_AUTH_METHOD=approle", "LATCHKEY_AUTH_SECRET_ID_FILE_PATH=/s", "LATCHKEY_AUTH_REMOVE_SECRET_ID_FILE_AFTER_READING=true"},
			block{"secret_id_file_path": "/s", "remove_secret_id_file_after_reading": "true"}},
		{"one that is wrapped", []string{"VAULT_ADDR=https://v", "LATCHKEY_AUTH_METHOD=approle", "LATCHKEY_AUTH_SECRET_ID_FILE_PATH=/s", "LATCHKEY_AUTH_SECRET_ID_RESPONSE_WRAPPING_PATH=a/b"},
			block{"secret_id_file_path": "/s", "secret_id_response_wrapping_path": "a/b"}},
		{"a JWT in a file", []string{"VAULT_ADDR=https://v", "LATCHKEY_AUTH_METHOD=jwt", "VAULT_AUTH_ROLE=app", "LATCHKEY_AUTH_PATH=/j"},
			block{"role": "app", "path": "/j", "remove_jwt_after_reading": "false"}},
		{"a certificate's role", []string{"VAULT_ADDR=https://v", "LATCHKEY_AUTH_METHOD=cert", "VAULT_AUTH_ROLE=web"}, block{"name": "web"}},
		{"said twice, alike", with("LATCHKEY_AUTH_REGION=x", "VAULT_STS_ENDPOINT_REGION=x"), block{"type": "iam", "role": "lambda", "region": "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := read(t, c.env...)
			got := block{}
			for _, key := range s.File.AutoAuth.Method.Config.Keys() {
				decoded(t, s.File.AutoAuth.Method.Config, key, got)
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// decoded puts one key of a block into a map.
func decoded(t *testing.T, b config.Block, key string, into map[string]string) {
	t.Helper()
	if !strings.HasSuffix(key, "tags") {
		into[key] = one(t, b, key, reflect.TypeFor[string]()).String()
		return
	}
	for k, v := range one(t, b, key, reflect.TypeFor[map[string]string]()).Interface().(map[string]string) {
		into[key+"."+k] = v
	}
}

// one decodes a key of a block that has others.
func one(t *testing.T, b config.Block, key string, typ reflect.Type) reflect.Value {
	t.Helper()
	v := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "V", Type: typ, Tag: reflect.StructTag(`config:"` + key + `"`)}}))
	for _, p := range problems(b.Decode(v.Interface())) {
		if p.Text != "unknown key" {
			t.Errorf("%s: %v", key, p)
		}
	}
	return v.Elem().Field(0)
}

func problems(err error) config.Problems {
	p, _ := err.(config.Problems)
	return p
}

func TestAMethodSpeaksOfVariables(t *testing.T) {
	b := read(t, with("LATCHKEY_ASSUME_ROLE_DURATION=x", "LATCHKEY_AUTH_ROEL=y")...).File.AutoAuth.Method.Config
	var v struct {
		Type     string        `config:"type"`
		Role     string        `config:"role"`
		Duration time.Duration `config:"assume_role_duration"`
		Audience string        `config:"audience,required"`
		Header   string        `config:"header_value,required"`
	}
	err := b.Decode(&v)
	for _, want := range []string{
		"LATCHKEY_ASSUME_ROLE_DURATION: must be a duration", "LATCHKEY_AUTH_ROEL: unknown key", "LATCHKEY_AUTH_AUDIENCE: is required", "VAULT_IAM_SERVER_ID: is required",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in\n%v", want, err)
		}
	}
}

func TestSkipVerifyIsSaidLoudly(t *testing.T) {
	s := read(t, with("VAULT_SKIP_VERIFY=true")...)
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "NOT VERIFIED (env VAULT_SKIP_VERIFY)") {
		t.Errorf("warnings are %q", s.Warnings)
	}
}

func TestWhatIsAllowedButUnwiseIsSaid(t *testing.T) {
	s := read(t, with("LATCHKEY_SNAPSTART=init", "AWS_LAMBDA_INITIALIZATION_TYPE=snap-start", "LATCHKEY_LISTEN=0.0.0.0:8200")...)
	if len(s.Warnings) != 2 || !strings.Contains(s.Warnings[0], "the snapshot holds a token") || !strings.HasPrefix(s.Warnings[1], "LATCHKEY_LISTEN: can be reached from other machines") {
		t.Errorf("warnings are %q", s.Warnings)
	}
	s, _, err := laidOver(t, wholeFile, "VAULT_RUN_MODE=file")
	if err != nil || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "the listener of the configuration is not opened") {
		t.Errorf("warnings are %q, %v", s.Warnings, err)
	}
}

func TestAStartThatMayFailLeavesTheFunctionTimeToStart(t *testing.T) {
	if s := read(t, with("LATCHKEY_FAIL=open")...); s.InitBudget != 4*time.Second {
		t.Error(s.InitBudget)
	}
	if s := read(t, with("LATCHKEY_FAIL=open", "LATCHKEY_INIT_BUDGET=9s")...); s.InitBudget != 9*time.Second {
		t.Error(s.InitBudget)
	}
}

func TestTheStartTakesNoLongerThanThePlatformGrants(t *testing.T) {
	for _, c := range []struct {
		typ, wanted, timeout string
		want                 time.Duration
	}{
		{"", "", "", 8 * time.Second},
		{"on-demand", "3s", "", 3 * time.Second},
		{"on-demand", "1m", "", 9500 * time.Millisecond},
		{"on-demand", "", "3", 2700 * time.Millisecond},
		{"on-demand", "", "300", 8 * time.Second},
		{"provisioned-concurrency", "1m", "3", time.Minute},
		{"snap-start", "10m", "", 125 * time.Second},
		{"lambda-managed-instances", "", "", 8 * time.Second},
		{"something new", "1m", "", time.Minute},
	} {
		s := read(t, with("AWS_LAMBDA_INITIALIZATION_TYPE="+c.typ, "LATCHKEY_INIT_BUDGET="+c.wanted, "AWS_LAMBDA_FUNCTION_TIMEOUT="+c.timeout)...)
		if s.InitBudget != c.want || c.typ != "" && s.InitType != c.typ {
			t.Errorf("%+v: %v, %s", c, s.InitBudget, s.InitType)
		}
	}
}

func TestSettingsPrintNoSecret(t *testing.T) {
	s := read(t, "VAULT_ADDR=https://v", "LATCHKEY_AUTH_METHOD=approle", "LATCHKEY_AUTH_SECRET_ID=CANARY", `VAULT_HEADERS={"A":"CANARY"}`, "AWS_SECRET_ACCESS_KEY=CANARY", "VAULT_TOKEN=CANARY")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{s, *s, struct{ s *Settings }{s}} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, "CANARY") {
				t.Errorf("%s of %T shows it: %s", verb, v, out)
			}
		}
	}
}

// laidOver reads a configuration as LATCHKEY_CONFIG and lays an environment over it.
func laidOver(t *testing.T, text string, environ ...string) (*Settings, *config.File, error) {
	t.Helper()
	s := read(t, append(environ, "LATCHKEY_CONFIG="+text)...)
	if s.File != nil || !s.Inline() {
		t.Fatalf("file is %v, inline %v", s.File, s.Inline())
	}
	l, err := config.LoadText("LATCHKEY_CONFIG", text, config.Options{Lex: hcl.Lex})
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Over(l)
	return s, f, err
}

const wholeFile = `
vault { address = "https://file:8200"
 namespace = "team" }
auto_auth { method "approle" { config = { role_id_file_path = "/r" } } }
listener "tcp" { address = "127.0.0.1:9000"
 tls_disable = true }
template { contents = "x"
 destination = "/tmp/t" }
log_level = "warn"
log_format = "json"
`

func TestAConfigurationFileAndTheEnvironment(t *testing.T) {
	s, f, err := laidOver(t, wholeFile, "VAULT_ADDR=http://127.0.0.1:9000", "VAULT_CACERT=/opt/ca.pem", "VAULT_NAMESPACE=team", "VAULT_SECRET_PATH=p")
	if err != nil {
		t.Fatal(err)
	}
	if f != s.File || f.Vault.Address != "https://file:8200" || f.Vault.CACert != "/opt/ca.pem" || f.AutoAuth.Method.Type != "approle" ||
		len(f.Listeners) != 1 || s.Listen != "127.0.0.1:9000" || f.APIProxy != nil || s.LogLevel != slog.LevelWarn || !s.LogJSON || f.Vault.NumRetries != 2 || len(s.Secrets) != 1 {
		t.Errorf("file is %+v, settings %+v", f, s)
	}
	s, f, err = laidOver(t, `template { contents = "x"
 destination = "/tmp/t" }`, with("VAULT_LOG_LEVEL=debug", "VAULT_DEFAULT_CACHE_TTL=1m")...)
	if err != nil {
		t.Fatal(err)
	}
	if f.AutoAuth.Method.Type != "aws" || len(f.Listeners) != 1 || f.Listeners[0].Address != "127.0.0.1:8200" || f.APIProxy == nil || f.Cache != nil || s.LogLevel != slog.LevelDebug || s.LogJSON {
		t.Errorf("file is %+v, settings %+v", f, s)
	}
	_, f, err = laidOver(t, `vault { address = "https://file:8200" }`, "VAULT_ADDR=http://127.0.0.1:8200", "VAULT_AUTH_PROVIDER=aws", "VAULT_AUTH_ROLE=r")
	if err != nil || f.Vault.Address != "https://file:8200" {
		t.Errorf("VAULT_ADDR that names the proxy, for the function: %v", err)
	}
	_, f, err = laidOver(t, `cache { use_auto_auth_token = true }`, minimal...)
	if err != nil || f.APIProxy != nil {
		t.Errorf("lending that the cache block asks for: %v", err)
	}
	_, f, err = laidOver(t, `api_proxy { use_auto_auth_token = "force" }
 cache { max_entries = 7 }`, with("VAULT_DEFAULT_CACHE_TTL=1m")...)
	if err != nil || f.Cache.MaxEntries != 7 || f.APIProxy.UseAutoAuthToken != config.AutoAuthTokenForce {
		t.Errorf("what the file says does not stay: %v", err)
	}
}

func TestContradictionsOfFileAndEnvironmentAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		text string
		env  []string
		want string
	}{
		{wholeFile, []string{"VLE_VAULT_ADDR=https://other"}, "VLE_VAULT_ADDR: is not what vault.address says in LATCHKEY_CONFIG:2"},
		{wholeFile, []string{"VAULT_ADDR=https://other"}, "VAULT_ADDR: is not what vault.address says in LATCHKEY_CONFIG:2"},
		{wholeFile, []string{"VAULT_NAMESPACE=other"}, "VAULT_NAMESPACE: is not what vault.namespace says in LATCHKEY_CONFIG:3"},
		{wholeFile, []string{"VAULT_AUTH_ROLE=r"}, "VAULT_AUTH_ROLE: is set, and the configuration has an auto_auth"},
		{wholeFile, []string{"LATCHKEY_LISTEN=8300"}, "LATCHKEY_LISTEN: is set, and the configuration has a listener"},
		{wholeFile, []string{"LATCHKEY_GUARD=true"}, "LATCHKEY_GUARD: is set, and the configuration has a listener"},
		{wholeFile, []string{"VAULT_SECRET_PATH=p", "VAULT_SECRET_FILE=/tmp/t"}, "VAULT_SECRET_FILE: is the destination of template[0] too"},
		{`vault { address = "https://file" }`, nil, "VAULT_AUTH_PROVIDER: is required"},
		{`vault { address = "https://file" }`, []string{"VAULT_AUTH_PROVIDER=aws"}, "VAULT_AUTH_ROLE: is required"},
		{`exec { command = ["x"] }
 env_template "A" { contents = "x" }`, minimal, "LATCHKEY_CONFIG:1:1: exec: the platform starts the function"},
	} {
		_, _, err := laidOver(t, c.text, c.env...)
		if p := problems(err); len(p) == 0 || !strings.HasPrefix(p[0].Error(), c.want) {
			t.Errorf("%q over %q: got %v, want %s", c.env, c.text, err, c.want)
		}
	}
}

func TestVariablesOfTemplatesNeedNoProcess(t *testing.T) {
	if _, f, err := laidOver(t, `env_template "A" { contents = "x" }`, minimal...); err != nil || len(f.EnvTemplates) != 1 {
		t.Error(err)
	}
}

func TestWhatIsTakenOutOfTheFunctionsEnvironment(t *testing.T) {
	own := Own()
	for _, name := range []string{"LATCHKEY_*", "VLE_VAULT_ADDR", "VAULT_AUTH_ROLE", "VAULT_SECRET_PATH", "VAULT_SECRET_PATH_*", "VAULT_HEADERS", "BAO_HEADERS", "VAULT_RUN_MODE"} {
		if !slices.Contains(own, name) {
			t.Errorf("%s stays in", name)
		}
	}
	// What tells a function where its file and its server are is for it, too.
	for _, name := range []string{"VAULT_ADDR", "VAULT_SECRET_FILE", "VAULT_SECRET_FILE_*", "VAULT_NAMESPACE", "VAULT_TOKEN", "AWS_REGION", "BAO_*", "VAULT_CACERT"} {
		if slices.Contains(own, name) {
			t.Errorf("%s is taken out", name)
		}
	}
}

// Whatever an environment holds, it is understood or refused by a name that is in it
// or could be.
func FuzzRead(f *testing.F) {
	f.Add(strings.Join(minimal, "\n"))
	f.Add(strings.Join(with("VAULT_SECRET_PATH_A=p", "VAULT_SECRET_FILE_A=f", "LATCHKEY_AUTH_TAGS=a=b", "LATCHKEY_LISTEN=[::1]:1", "VAULT_HEADERS={\"a\":\"b\"}"), "\n"))
	f.Add(strings.Join(with("VAULT_DEFAULT_CACHE_TTL=1m", "LATCHKEY_INIT_BUDGET=9223372036854775807ns", "AWS_LAMBDA_FUNCTION_TIMEOUT=99999999999", "LATCHKEY_AUTH_CONFIG.X=1"), "\n"))
	f.Add("=\n=x\nA\nVAULT_ADDR=://\nLATCHKEY_LISTEN=:\nLATCHKEY_=1\nLATCHKEY_AUTH_MOUNT_PATH=/")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Read(strings.Split(text, "\n"))
		if (s == nil) == (err == nil) {
			t.Fatalf("settings %v, error %v", s, err)
		}
		for _, p := range problems(err) {
			if p.Key == "" || p.Text == "" || strings.HasPrefix(p.Key, "auto_auth") {
				t.Errorf("%q: problem without a variable: %v", text, p)
			}
		}
		if s == nil {
			return
		}
		files := map[string]bool{}
		for _, x := range s.Secrets {
			if files[x.File] || x.Path == "" || !strings.HasPrefix(x.File, "/") {
				t.Errorf("%q: secrets are %+v", text, s.Secrets)
			}
			files[x.File] = true
		}
		if s.File == nil && s.Config == "" || s.InitBudget <= 0 || s.InitBudget > ahead || s.Grace < 0 || s.CacheTTL < 0 {
			t.Errorf("%q: settings are %+v", text, s)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	env := with("VAULT_SECRET_PATH=p", "VAULT_CACERT=/opt/ca.pem", "AWS_REGION=x", "PATH=/bin", "LANG=C")
	for b.Loop() {
		if _, err := Read(env); err != nil {
			b.Fatal(err)
		}
	}
}

func TestWhatIsBuiltOfTheEnvironmentSpeaksOfVariables(t *testing.T) {
	ours := read(t, with("LATCHKEY_AUTH_METHOD=nope")...).File.AutoAuth.Method.Pos
	err := Called(errors.Join(
		&config.Problem{Pos: ours, Key: "auto_auth.method.type", Text: "is unknown"},
		&config.Problem{Pos: ours, Key: "LATCHKEY_AUTH_X", Text: "is unknown"},
		&config.Problem{Pos: config.Pos{File: "a.hcl", Line: 3}, Key: "auto_auth.method.type", Text: "is wrong"},
	))
	if got, want := err.Error(), "LATCHKEY_AUTH_METHOD: is unknown\nLATCHKEY_AUTH_X: is unknown\na.hcl:3:0: auto_auth.method.type: is wrong"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if Called(nil) != nil {
		t.Error("no error became one")
	}
}
