package extension

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"

	"latchkey/internal/access"
	"latchkey/internal/auth"
	"latchkey/internal/config"
	"latchkey/internal/session"
	"latchkey/internal/vault"
)

func TestAFailureSaysHowFarTheStartCame(t *testing.T) {
	denied := &vault.Error{Kind: vault.ErrDenied, Op: "read", Path: "secret/data/app", Status: 403}
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for what, c := range map[string]struct {
		err  error
		kind string
		// says is in the message, silent is not.
		says, silent string
	}{
		"a variable that makes no sense": {fault{config.Problems{{Key: "VAULT_RUN_MODE", Text: "is nothing"}}}, kindConfig, "VAULT_RUN_MODE", "login"},
		"a CA file that is not there": {
			fault{fmt.Errorf("%w: ca_cert: %w", access.ErrServerSettings, &fs.PathError{Op: "stat", Path: "/nowhere", Err: fs.ErrNotExist})},
			kindConfig, "/nowhere", "login",
		},
		"a template that does not parse": {fault{errors.New("template does not parse")}, kindConfig, "parse", "login"},
		"an address that is taken":       {fault{listenError{&net.OpError{Op: "listen", Err: syscall.EADDRINUSE}}}, kindListen, "LATCHKEY_LISTEN", ""},
		"a secret id that is not there": {
			fmt.Errorf("%w: %w", session.ErrLogin, fmt.Errorf("%w: no secret_id: %w", auth.ErrCredentials, &fs.PathError{Op: "open", Path: "/tmp/id", Err: fs.ErrNotExist})),
			kindLogin, "nothing to log in with", "refuses",
		},
		"an STS that does not answer": {fmt.Errorf("%w: %w: AssumeRole: %w", session.ErrLogin, auth.ErrCredentials, refused), kindLogin, "way to STS", "VAULT_ADDR"},
		"a server that is not there": {
			fmt.Errorf("%w: %w", session.ErrLogin, &vault.Error{Kind: vault.ErrUnreachable, Op: "login", Cause: refused}), "Extension.ConnectFailed", "security groups", "",
		},
		"a login that is refused":          {fmt.Errorf("%w: %w", session.ErrLogin, denied), kindLogin, "VAULT_AUTH_ROLE", "the login went well"},
		"a secret that may not be read":    {fmt.Errorf("files: %w", denied), kindSecret, "the login went well", ""},
		"a file that cannot be written":    {fmt.Errorf("files: %w", &fs.PathError{Op: "open", Path: "/var/task/x", Err: syscall.EROFS}), kindOutput, "/tmp", "policies"},
		"a template's command that failed": {Output(errors.New("template command failed: exit code 1")), kindOutput, "the command", "policies"},
		"a sink that wraps and may not":    {Output(denied), kindSecret, "policies", ""},
	} {
		kind, message := describe(c.err)
		if kind != c.kind || !strings.Contains(message, c.says) || c.silent != "" && strings.Contains(message, c.silent) {
			t.Errorf("%s: %s, %s", what, kind, message)
		}
	}
	if Output(nil) != nil {
		t.Error("no error became one")
	}
}
