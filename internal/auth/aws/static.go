package aws

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"latchkey/internal/cred"
)

// static is keys that are written down.
type static struct {
	id            string
	secret, token cred.Redacted
	source        string
}

// Retrieve implements Credentials.
func (s static) Retrieve(context.Context) (sdk.Credentials, error) {
	return sdk.Credentials{AccessKeyID: s.id, SecretAccessKey: s.secret.Reveal(), SessionToken: s.token.Reveal(), Source: s.source}, nil
}

// fromEnv is the keys in the environment, if they are there.
func (s Settings) fromEnv() (static, bool) {
	k := static{
		id: s.first("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"), secret: cred.Redact(s.first("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY")),
		token: cred.Redact(s.env("AWS_SESSION_TOKEN")), source: "the environment",
	}
	return k, k.id != "" && !k.secret.Empty()
}

// first is the value of the first variable that has one.
func (s Settings) first(names ...string) string {
	for _, n := range names {
		if v := s.env(n); v != "" {
			return v
		}
	}
	return ""
}
