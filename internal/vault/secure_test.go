package vault

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/vault/api"

	"latchkey/internal/vaulttest"
)

func TestCertificatesMeanWhatTheyMeanToTheSDK(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authority := func(name string) *vaulttest.CA {
		ca, err := vaulttest.NewCA(name)
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}
	own, err := authority("one").Client("us")
	if err != nil {
		t.Fatal(err)
	}
	text := authority("two").PEM
	file, below := put("ca.pem", authority("one").PEM), filepath.Dir(put("all/ca.pem", authority("three").PEM))
	cert, key := put("cert.pem", own.Cert), put("key.pem", own.Key)
	empty, gone := put("empty.pem", nil), filepath.Join(dir, "gone.pem")
	for name, cfg := range map[string]Config{
		"nothing":                       {},
		"a file":                        {CACert: file},
		"text":                          {CACertPEM: text},
		"a directory":                   {CAPath: below},
		"a file, text and a directory":  {CACert: file, CACertPEM: text, CAPath: below},
		"text and a directory":          {CACertPEM: text, CAPath: below},
		"a file that is gone":           {CACert: gone},
		"a file that is gone, and text": {CACert: gone, CACertPEM: text},
		"a file without any":            {CACert: empty},
		"text that is none":             {CACertPEM: []byte("none")},
		"a directory that is gone":      {CAPath: gone},
		"a name and no care":            {TLSServerName: "vault.internal", SkipVerify: true},
		"ourselves":                     {ClientCert: cert, ClientKey: key},
		"ourselves without a key":       {ClientCert: cert},
		"a key without ourselves":       {ClientKey: key},
		"ourselves with another's key":  {ClientCert: file, ClientKey: key},
	} {
		t.Run(name, func(t *testing.T) {
			their := api.Config{HttpClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}}}
			theirErr := their.ConfigureTLS(&api.TLSConfig{
				CACert: cfg.CACert, CACertBytes: cfg.CACertPEM, CAPath: cfg.CAPath,
				ClientCert: cfg.ClientCert, ClientKey: cfg.ClientKey, TLSServerName: cfg.TLSServerName, Insecure: cfg.SkipVerify,
			})
			ours := &tls.Config{MinVersion: tls.VersionTLS12}
			if err := secure(ours, cfg); (err == nil) != (theirErr == nil) {
				t.Fatalf("ours: %v, theirs: %v", err, theirErr)
			}
			if theirErr != nil {
				return
			}
			theirs := their.TLSConfig()
			if ours.ServerName != theirs.ServerName || ours.InsecureSkipVerify != theirs.InsecureSkipVerify {
				t.Errorf("ours: %q, %v, theirs: %q, %v", ours.ServerName, ours.InsecureSkipVerify, theirs.ServerName, theirs.InsecureSkipVerify)
			}
			if (ours.RootCAs == nil) != (theirs.RootCAs == nil) || ours.RootCAs != nil && !ours.RootCAs.Equal(theirs.RootCAs) {
				t.Error("other authorities")
			}
			if (ours.GetClientCertificate == nil) != (theirs.GetClientCertificate == nil) {
				t.Error("somebody else")
			}
		})
	}
}
