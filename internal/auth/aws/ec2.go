package aws

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// ec2 logs in with the document that an instance has about itself.
type ec2 struct {
	o     auth.Options
	imds  imds
	role  string
	nonce cred.Redacted
}

func newEC2(s Settings, o auth.Options, cfg awsConfig) (auth.Method, error) {
	for _, key := range []string{
		"access_key", "secret_key", "session_token", "header_value", "sts_endpoint", "assume_role_arn", "assume_role_external_id",
		"assume_role_session_name", "assume_role_duration", "assume_role_tags", "assume_role_sts_endpoint",
	} {
		if o.Config.Has(key) {
			return nil, o.Config.Problem(key, "belongs to type iam", "an instance logs in with a document about itself, and no keys; leave it out")
		}
	}
	return &ec2{o: o, imds: s.imds(), role: cfg.Role, nonce: cred.Redact(cfg.Nonce)}, nil
}

func (m *ec2) Login(ctx context.Context, c *vault.Client) (cred.Token, error) {
	body, err := m.body(ctx)
	if err != nil {
		return cred.Token{}, attempted(m.o, err)
	}
	tok, err := c.Login(ctx, m.o.Mount+"/login", body)
	if err != nil {
		if m.o.Config.Has("nonce") || !strings.Contains(err.Error(), "nonce") {
			return cred.Token{}, attempted(m.o, err)
		}
		return cred.Token{}, attempted(m.o, fmt.Errorf("%w (the instance has logged in with another nonce before, and each run makes its own: set nonce, or use type iam)", err))
	}
	return tok, nil
}

// body is the document, its signature, and the nonce that an instance shows at each
// login: the first one makes it known, so that nobody else can use the document.
func (m *ec2) body(ctx context.Context) (map[string]any, error) {
	const about = "/latest/dynamic/instance-identity/"
	document, err := m.imds.get(ctx, about+"document")
	if err != nil {
		return nil, err
	}
	signature, err := m.imds.get(ctx, about+"signature")
	if err != nil {
		return nil, err
	}
	if m.nonce.Empty() && m.o.Preserve {
		return nil, retry.Permanent(fmt.Errorf("%w: the first login of an instance makes its nonce the one that counts, and none is configured; the document is there", auth.ErrWouldSpend))
	}
	if m.nonce.Empty() {
		m.nonce = cred.Redact(rand.Text())
	}
	return map[string]any{
		"role":      m.role,
		"identity":  base64.StdEncoding.EncodeToString(document),
		"signature": strings.ReplaceAll(strings.TrimSpace(string(signature)), "\n", ""),
		"nonce":     m.nonce.Reveal(),
	}, nil
}
