package aws

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// awsConfig is the block of method "aws": the keys of Vault Agent, and those below
// the blank line.
type awsConfig struct {
	Type         string        `config:"type,required"`
	Role         string        `config:"role,required"`
	AccessKey    string        `config:"access_key"`
	SecretKey    string        `config:"secret_key"`
	SessionToken string        `config:"session_token"`
	Region       *string       `config:"region"`
	Header       string        `config:"header_value"`
	Nonce        string        `config:"nonce"`
	Poll         time.Duration `config:"credential_poll_interval"`

	Endpoint         string            `config:"sts_endpoint"`
	AssumeARN        string            `config:"assume_role_arn"`
	AssumeExternalID string            `config:"assume_role_external_id"`
	AssumeSession    string            `config:"assume_role_session_name"`
	AssumeDuration   time.Duration     `config:"assume_role_duration"`
	AssumeTags       map[string]string `config:"assume_role_tags"`
	AssumeEndpoint   string            `config:"assume_role_sts_endpoint"`
}

// New is the constructor of method "aws".
func New(s Settings) auth.Constructor {
	return func(o auth.Options) (auth.Method, error) {
		cfg := awsConfig{Poll: time.Minute, AssumeSession: sessionName}
		if err := o.Config.Decode(&cfg); err != nil {
			return nil, err
		}
		switch cfg.Type {
		case "iam":
			return newIAM(s, o, cfg)
		case "ec2":
			return newEC2(s, o, cfg)
		}
		return nil, o.Config.Problem("type", "is neither iam nor ec2", "iam works wherever there are AWS credentials, ec2 on an instance alone")
	}
}

// iam logs in with a request that was signed and not sent.
type iam struct {
	watch
	o           auth.Options
	s           Settings
	credentials Credentials
	endpoint    string  // explicit, "" for none
	region      *string // nil for none, "" to find out
	role        string
	header      string
}

func newIAM(s Settings, o auth.Options, cfg awsConfig) (auth.Method, error) {
	if cfg.Nonce != "" {
		return nil, o.Config.Problem("nonce", "belongs to type ec2", "leave it out")
	}
	if strings.ContainsAny(cfg.Header, "\r\n") {
		return nil, o.Config.Problem("header_value", "holds a line break", "")
	}
	if err := endpoints(o, "sts_endpoint", cfg.Endpoint, "assume_role_sts_endpoint", cfg.AssumeEndpoint); err != nil {
		return nil, err
	}
	from, every, err := s.keys(o, cfg.AccessKey, cfg.SecretKey, cfg.SessionToken, cfg.Poll)
	if err != nil {
		return nil, err
	}
	m := &iam{o: o, s: s, endpoint: cfg.Endpoint, region: cfg.Region, role: cfg.Role, header: cfg.Header}
	region := s.region()
	if cfg.Region != nil && *cfg.Region != "" {
		region = *cfg.Region
	}
	m.credentials, err = assumeKeys{
		arn: cfg.AssumeARN, external: cfg.AssumeExternalID, session: cfg.AssumeSession,
		endpoint: cfg.AssumeEndpoint, duration: cfg.AssumeDuration, tags: cfg.AssumeTags,
	}.over(from, s, o, region)
	m.watch = watch{from: from, every: every}
	return m, err
}

// keys are those of the block, or where else to look; every is how often it is
// worth while to look for new ones.
func (s Settings) keys(o auth.Options, access, secret, token string, poll time.Duration) (_ Credentials, every time.Duration, err error) {
	const both = "access_key and secret_key go together; without them the environment is asked"
	switch {
	case access != "" && secret == "":
		return nil, 0, o.Config.Problem("secret_key", "is missing", both)
	case access == "" && secret != "":
		return nil, 0, o.Config.Problem("access_key", "is missing", both)
	case access == "" && token != "":
		return nil, 0, o.Config.Problem("session_token", "is nothing without access_key and secret_key", both)
	case poll < 0:
		return nil, 0, o.Config.Problem("credential_poll_interval", "is negative", "give a duration such as 1m, or 0 to look for new keys at each login alone")
	case access != "":
		return static{id: access, secret: cred.Redact(secret), token: cred.Redact(token), source: "the configuration"}, 0, nil
	case s.Credentials == nil:
		return nil, 0, o.Config.Problem("access_key", "is missing", both)
	}
	return s.Credentials, poll, nil
}

// endpoints refuses values that are no URL; they come as key, value, key, value.
func endpoints(o auth.Options, pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		v := pairs[i+1]
		if v != "" && !strings.HasPrefix(v, "https://") && !strings.HasPrefix(v, "http://") {
			return o.Config.Problem(pairs[i], "is not an http or https URL", "such as https://sts.eu-central-1.amazonaws.com")
		}
	}
	return nil
}

func (m *iam) Login(ctx context.Context, c *vault.Client) (cred.Token, error) {
	m.mark()
	keys, err := m.credentials.Retrieve(ctx)
	if err != nil {
		return cred.Token{}, attempted(m.o, err)
	}
	at, err := m.at(ctx)
	if err != nil {
		return cred.Token{}, attempted(m.o, err)
	}
	body, err := m.body(ctx, at, keys)
	if err != nil {
		return cred.Token{}, attempted(m.o, err)
	}
	tok, err := c.Login(ctx, m.o.Mount+"/login", body)
	if err != nil {
		if errors.Is(err, vault.ErrBadRequest) || errors.Is(err, vault.ErrDenied) {
			forget(m.credentials)
		}
		return cred.Token{}, attempted(m.o, explained(err, at, keys, m.header))
	}
	return tok, nil
}

// at is the endpoint to sign for.
func (m *iam) at(ctx context.Context) (endpoint, error) {
	if m.region == nil {
		return m.s.endpoint(m.endpoint, ""), nil
	}
	region, err := m.s.locate(ctx, *m.region, m.credentials)
	return m.s.endpoint(m.endpoint, region), err
}

// locate is the region as configured; where that is "", what the place says.
func (s Settings) locate(ctx context.Context, configured string, from Credentials) (string, error) {
	if configured != "" {
		return configured, nil
	}
	if r := s.region(); r != "" {
		return r, nil
	}
	r, err := regionOf(ctx, from)
	if err == nil && r == "" {
		err = fmt.Errorf("%w: no region: set region, or AWS_REGION", auth.ErrCredentials)
	}
	return r, err
}

// identity is the question that AWS answers with the name of who signed it.
const identity = "Action=GetCallerIdentity&Version=" + stsVersion

// body is the signed request, packed as the server wants it.
func (m *iam) body(ctx context.Context, at endpoint, keys sdk.Credentials) (map[string]any, error) {
	header := http.Header{}
	if m.header != "" {
		header.Set("X-Vault-AWS-IAM-Server-ID", m.header)
	}
	r, err := at.signed(ctx, keys, identity, header)
	if err != nil {
		return nil, err
	}
	headers, err := json.Marshal(r.Header)
	if err != nil {
		return nil, err
	}
	b64 := base64.StdEncoding.EncodeToString
	return map[string]any{
		"iam_http_request_method": r.Method,
		"iam_request_url":         b64([]byte(r.URL.String())),
		"iam_request_body":        b64([]byte(identity)),
		"iam_request_headers":     b64(headers),
		"role":                    m.role,
	}, nil
}
