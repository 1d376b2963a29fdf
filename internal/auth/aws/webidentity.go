package aws

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// webConfig is the block of method "aws_web_identity".
type webConfig struct {
	Role         string            `config:"role"`
	Audience     string            `config:"audience,required"`
	Algorithm    string            `config:"signing_algorithm"`
	Duration     time.Duration     `config:"duration"`
	Region       string            `config:"region"`
	Endpoint     string            `config:"sts_endpoint"`
	Tags         map[string]string `config:"tags"`
	AccessKey    string            `config:"access_key"`
	SecretKey    string            `config:"secret_key"`
	SessionToken string            `config:"session_token"`
	Poll         time.Duration     `config:"credential_poll_interval"`

	AssumeARN        string            `config:"assume_role_arn"`
	AssumeExternalID string            `config:"assume_role_external_id"`
	AssumeSession    string            `config:"assume_role_session_name"`
	AssumeDuration   time.Duration     `config:"assume_role_duration"`
	AssumeTags       map[string]string `config:"assume_role_tags"`
	AssumeEndpoint   string            `config:"assume_role_sts_endpoint"`
}

// web logs in to a mount of the JWT method with a JWT that AWS signs about who asks
// for it: the server needs no AWS keys and no plugin, only the account's issuer.
type web struct {
	watch
	o           auth.Options
	s           Settings
	credentials Credentials
	http        *http.Client
	// role is "" for the mount's default_role, region "" to find out, endpoint ""
	// for that of the region.
	role, region, endpoint string
	// form is what AWS is asked.
	form url.Values
}

// WebIdentity is the constructor of method "aws_web_identity". Its mount is auth/jwt
// unless another is configured.
func WebIdentity(s Settings) auth.Constructor {
	return func(o auth.Options) (auth.Method, error) {
		cfg := webConfig{Algorithm: "RS256", Duration: 5 * time.Minute, Poll: time.Minute, AssumeSession: sessionName}
		if err := o.Config.Decode(&cfg); err != nil {
			return nil, err
		}
		switch {
		case cfg.Algorithm != "RS256" && cfg.Algorithm != "ES384":
			return nil, o.Config.Problem("signing_algorithm", "is neither RS256 nor ES384", "")
		case cfg.Duration < time.Minute || cfg.Duration > time.Hour:
			return nil, o.Config.Problem("duration", "is out of bounds", "1m to 1h; the JWT is used at once, so 1m is enough where clocks agree")
		case len(cfg.Tags) > 50:
			return nil, o.Config.Problem("tags", "are more than AWS takes", "at most 50")
		}
		if err := endpoints(o, "sts_endpoint", cfg.Endpoint, "assume_role_sts_endpoint", cfg.AssumeEndpoint); err != nil {
			return nil, err
		}
		// auth/TYPE is what a mount_path is by default, and no mount is called so.
		if o.Mount == "auth/"+o.Config.Type {
			o.Mount = "auth/jwt"
		}
		from, every, err := s.keys(o, cfg.AccessKey, cfg.SecretKey, cfg.SessionToken, cfg.Poll)
		if err != nil {
			return nil, err
		}
		region := cfg.Region
		if region == "" {
			region = s.region()
		}
		m := &web{
			watch: watch{from: from, every: every}, o: o, s: s, http: s.http(), role: cfg.Role, region: cfg.Region, endpoint: cfg.Endpoint,
			form: url.Values{"Audience.member.1": {cfg.Audience}, "SigningAlgorithm": {cfg.Algorithm}, "DurationSeconds": {seconds(cfg.Duration)}},
		}
		tagged(m.form, cfg.Tags)
		m.credentials, err = assumeKeys{
			arn: cfg.AssumeARN, external: cfg.AssumeExternalID, session: cfg.AssumeSession,
			endpoint: cfg.AssumeEndpoint, duration: cfg.AssumeDuration, tags: cfg.AssumeTags,
		}.over(from, s, o, region)
		return m, err
	}
}

func (m *web) Login(ctx context.Context, c *vault.Client) (cred.Token, error) {
	m.mark()
	jwt, err := m.jwt(ctx)
	if err != nil {
		return cred.Token{}, attempted(m.o, err)
	}
	body := map[string]any{"jwt": jwt.Reveal()}
	if m.role != "" {
		body["role"] = m.role
	}
	tok, err := c.Login(ctx, m.o.Mount+"/login", body)
	if err != nil {
		return cred.Token{}, attempted(m.o, err)
	}
	return tok, nil
}

// jwt has AWS sign one. The global endpoint does not do that.
func (m *web) jwt(ctx context.Context) (cred.Redacted, error) {
	region, err := m.s.locate(ctx, m.region, m.credentials)
	if err != nil {
		return cred.Redacted{}, fmt.Errorf("%w; only an STS of a region signs JWTs", err)
	}
	keys, err := m.credentials.Retrieve(ctx)
	if err != nil {
		return cred.Redacted{}, err
	}
	result, err := m.s.endpoint(m.endpoint, region).call(ctx, m.http, &keys, "GetWebIdentityToken", maps.Clone(m.form))
	if err != nil {
		forget(m.credentials)
		return cred.Redacted{}, err
	}
	jwt := cred.Redact(text(result, "WebIdentityToken"))
	if jwt.Empty() {
		return cred.Redacted{}, fmt.Errorf("%w: sts:GetWebIdentityToken answered without a token", auth.ErrCredentials)
	}
	return jwt, nil
}
