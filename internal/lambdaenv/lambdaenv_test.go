package lambdaenv

import (
	"testing"
)

func TestTry(t *testing.T) {
	s, err := Read([]string{"VAULT_ADDR=http://127.0.0.1:8200", "VAULT_RUN_MODE=prox", "VAULT_SKIP_VERIFY=1", "VAULT_CLIENT_CERT=/x", "VAULT_SECRET_FILE=x", "LATCHKEY_LISTN=3", "VAULT_MAX_RETRIES=x", "LATCHKEY_MAX_BODY_SIZE=x"})
	t.Logf("%+v\n%v", s, err)
	s, err = Read([]string{"VAULT_ADDR=http://10.0.0.1:8200", "VAULT_AUTH_PROVIDER=aws", "VAULT_AUTH_ROLE=r", "VAULT_SKIP_VERIFY=1", "VAULT_SECRET_PATH=/kv//data/x", "VAULT_DEFAULT_CACHE_TTL=5m"})
	t.Logf("%+v\n%v", s, err)
	t.Logf("%+v", s.File)
	t.Logf("%+v", s.File.AutoAuth)
	t.Logf("%+v", s.File.Listeners)
	t.Logf("%+v %+v", s.File.Cache, s.File.APIProxy)
	t.Log(s.File.AutoAuth.Method.Config.Problem("role", "x", ""))
	t.Log(s.File.AutoAuth.Method.Config.Problem("audience", "x", ""))
}
