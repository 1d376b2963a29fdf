package vault

import (
	"crypto/tls"
	"errors"
	"fmt"

	rootcerts "github.com/hashicorp/go-rootcerts"
)

// secure says whom to trust and who we are. A file of authorities goes before
// their text, and that before a directory of them; without any, the system's
// count.
func secure(t *tls.Config, cfg Config) error {
	switch {
	case cfg.ClientCert != "" && cfg.ClientKey != "":
		pair, err := tls.LoadX509KeyPair(cfg.ClientCert, cfg.ClientKey)
		if err != nil {
			return fmt.Errorf("client cert and client key: %w", err)
		}
		// Given to whoever asks: the server's list of authorities may lack those in
		// between.
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	case cfg.ClientCert != "" || cfg.ClientKey != "":
		return errors.New("both client cert and client key must be given")
	}
	if cfg.CACert != "" || len(cfg.CACertPEM) > 0 || cfg.CAPath != "" {
		err := rootcerts.ConfigureTLS(t, &rootcerts.Config{CAFile: cfg.CACert, CACertificate: cfg.CACertPEM, CAPath: cfg.CAPath})
		if err != nil {
			return err
		}
	}
	t.ServerName, t.InsecureSkipVerify = cfg.TLSServerName, cfg.SkipVerify
	return nil
}
