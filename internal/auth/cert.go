package auth

import (
	"context"
	"fmt"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

type certConfig struct {
	Name       string `config:"name"`
	CACert     string `config:"ca_cert"`
	ClientCert string `config:"client_cert"`
	ClientKey  string `config:"client_key"`
	// Reload and ReloadPeriod tell a watcher to look for rotated files
	// between logins, which it does unless told not to. Each login reads the
	// files anyway.
	Reload       bool          `config:"reload"`
	ReloadPeriod time.Duration `config:"reload_period"`
}

// cert logs in with a TLS client certificate: its own when it has one, else
// that of the vault stanza. Rotated files are read again at each login. The
// separate client keeps all else of the stanza, server name, CA directory and
// tls_skip_verify included.
type cert struct {
	watch
	o   Options
	cfg certConfig
	// again is set once Login has run: the client that is handed in read the
	// stanza's files when it was built, and they may have been rotated since.
	again bool
}

// Cert is the constructor of method "cert".
func Cert(o Options) (Method, error) {
	cfg := certConfig{ReloadPeriod: time.Minute}
	if err := o.Config.Decode(&cfg); err != nil {
		return nil, err
	}
	const both = "client_cert and client_key go together"
	switch {
	case cfg.ClientCert != "" && cfg.ClientKey == "":
		return nil, o.Config.Problem("client_key", "is missing", both)
	case cfg.ClientCert == "" && cfg.ClientKey != "":
		return nil, o.Config.Problem("client_cert", "is missing", both)
	case cfg.Reload && cfg.ReloadPeriod <= 0:
		return nil, o.Config.Problem("reload_period", "is not positive", "give a duration such as 1m")
	}
	m := &cert{o: o, cfg: cfg}
	if cfg.Reload || !o.Config.Has("reload") && cfg.ReloadPeriod > 0 {
		tls := m.settings()
		m.watch = watching(cfg.ReloadPeriod, tls.ClientCert, tls.ClientKey, tls.CACert)
	}
	return m, nil
}

func (m *cert) Login(ctx context.Context, c *vault.Client) (cred.Token, error) {
	m.mark()
	c, done, err := m.Reach(c)
	if err != nil {
		return cred.Token{}, m.o.attempted(err)
	}
	defer done()
	m.again = true
	body := map[string]any{}
	if m.cfg.Name != "" {
		body["name"] = m.cfg.Name
	}
	tok, err := login(ctx, c, m.o, body)
	if err != nil && refused(err) && m.settings().ClientCert == "" {
		err = fmt.Errorf("%w (no client certificate is configured: set client_cert and client_key)", err)
	}
	return tok, err
}

// Reach returns a client that shows the method's certificate; the server wants to
// see it at each renewal too.
func (m *cert) Reach(c *vault.Client) (*vault.Client, func(), error) {
	tls := m.settings()
	if m.cfg.ClientCert == "" && m.cfg.CACert == "" && (!m.again || tls.ClientCert == "") {
		return c, func() {}, nil
	}
	own, err := vault.New(tls)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrCredentials, err)
	}
	return own.In(c.Namespace()).Wrapping(m.o.Wrap), func() { _ = own.Close() }, nil
}

// settings is the vault stanza with the method's own files laid over it.
func (m *cert) settings() vault.Config {
	tls := m.o.Client
	if m.cfg.ClientCert != "" {
		tls.ClientCert, tls.ClientKey = m.cfg.ClientCert, m.cfg.ClientKey
	}
	if m.cfg.CACert != "" {
		tls.CACert, tls.CACertPEM = m.cfg.CACert, nil
	}
	return tls
}
