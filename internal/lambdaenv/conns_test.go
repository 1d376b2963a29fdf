package lambdaenv

import "testing"

func TestNoPoolWithABoundUnlessAFileWantsOne(t *testing.T) {
	s, err := Read([]string{"VAULT_ADDR=http://10.0.0.1:8200", "VAULT_AUTH_PROVIDER=aws", "VAULT_AUTH_ROLE=app"})
	if err != nil {
		t.Fatal(err)
	}
	if n := s.File.TemplateConfig.MaxConnectionsPerHost; n != 0 {
		t.Errorf("%d connections at most", n)
	}
}
