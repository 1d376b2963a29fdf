package auth

import (
	"context"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

type kubernetesConfig struct {
	Role      string `config:"role,required"`
	TokenPath string `config:"token_path"`
}

// kubernetes logs in with the pod's service account token, read at each login
// because the kubelet rotates it.
type kubernetes struct {
	watch
	o    Options
	role string
	file credentialFile
}

// Kubernetes is the constructor of method "kubernetes".
func Kubernetes(o Options) (Method, error) {
	var cfg kubernetesConfig
	if err := o.Config.Decode(&cfg); err != nil {
		return nil, err
	}
	if cfg.TokenPath == "" {
		cfg.TokenPath = serviceAccountToken
	}
	file := credentialFile{what: "service account token", key: "token_path", path: cfg.TokenPath}
	return &kubernetes{watch: watching(watchEvery, cfg.TokenPath), o: o, role: cfg.Role, file: file}, nil
}

func (m *kubernetes) Login(ctx context.Context, c *vault.Client) (cred.Token, error) {
	m.mark()
	jwt, err := m.file.read()
	if err != nil {
		return cred.Token{}, m.o.attempted(err)
	}
	return login(ctx, c, m.o, map[string]any{"role": m.role, "jwt": jwt.Reveal()})
}
