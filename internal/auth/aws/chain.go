package aws

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

// Chain gives the keys that the SDK would find, and in its order: those of the
// environment, of a pod's service account, of a profile and all that one may refer to,
// of a container, of an instance. A test holds it to the SDK's answers. It differs in
// that it starts no program (credential_process) and renews no login of a person.
func Chain(s Settings) Credentials { return keep(&chain{s}) }

type chain struct{ s Settings }

// Retrieve implements Credentials.
func (c *chain) Retrieve(ctx context.Context) (sdk.Credentials, error) {
	if keys, ok := c.s.fromEnv(); ok {
		return keys.Retrieve(ctx)
	}
	if file := c.s.env("AWS_WEB_IDENTITY_TOKEN_FILE"); file != "" {
		return c.webIdentity(ctx, file, c.s.env("AWS_ROLE_ARN"), c.s.env("AWS_ROLE_SESSION_NAME"), c.s.region())
	}
	p, err := c.profiles()
	if err != nil {
		return sdk.Credentials{}, err
	}
	name, explicit := c.s.profile()
	if p.of[name] == nil && explicit {
		return sdk.Credentials{}, fmt.Errorf("%w: AWS_PROFILE names the profile %q, which is neither in %s nor in %s", auth.ErrCredentials, name, p.files[0], p.files[1])
	}
	return c.fromProfile(ctx, p, name, nil)
}

// Region implements locator.
func (c *chain) Region(ctx context.Context) (string, error) {
	if r := c.s.region(); r != "" {
		return r, nil
	}
	p, err := c.profiles()
	if err != nil {
		return "", err
	}
	name, _ := c.s.profile()
	if r := p.of[name]["region"]; r != "" {
		return r, nil
	}
	r, err := c.s.imds().Region(ctx)
	if err != nil {
		return "", fmt.Errorf("no region: neither AWS_REGION nor a profile says one: %w", err)
	}
	return r, nil
}

// profile is the name of the one in use.
func (s Settings) profile() (name string, explicit bool) {
	if name = s.first("AWS_PROFILE", "AWS_DEFAULT_PROFILE"); name != "" {
		return name, true
	}
	return "default", false
}

// profiles is what the two files say together.
type profiles struct {
	of, sessions sections // profiles and sso-sessions, by name
	files        [2]string
}

func (c *chain) profiles() (profiles, error) {
	p := profiles{of: sections{}, sessions: sections{}}
	p.files = [2]string{c.s.file("AWS_CONFIG_FILE", "config"), c.s.file("AWS_SHARED_CREDENTIALS_FILE", "credentials")}
	for i, file := range p.files {
		if file == "" {
			continue
		}
		content, err := slurp(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return p, fmt.Errorf("%w: %w", auth.ErrCredentials, err)
		}
		for section, keys := range parseINI(content) {
			into, name := p.of, section
			if i == 0 && section != "default" {
				kind, rest, _ := strings.Cut(section, " ")
				switch name = rest; kind {
				case "profile":
				case "sso-session":
					into = p.sessions
				default:
					continue
				}
			}
			into.lay(name, keys)
		}
	}
	return p, nil
}

// lay puts keys over those that are there. A pair of keys replaces the other file's,
// session token and all.
func (s sections) lay(name string, keys map[string]string) {
	if s[name] == nil {
		s[name] = map[string]string{}
	}
	if keys["aws_access_key_id"] != "" && keys["aws_secret_access_key"] != "" {
		delete(s[name], "aws_session_token")
	}
	for k, v := range keys {
		s[name][k] = v
	}
}

// file is where a file of the AWS command line is, "" when that is not known.
func (s Settings) file(variable, name string) string {
	if f := s.env(variable); f != "" {
		return f
	}
	if home := s.first("HOME", "USERPROFILE"); home != "" {
		return filepath.Join(home, ".aws", name)
	}
	return ""
}

// fromProfile follows a profile; seen are those that led here.
func (c *chain) fromProfile(ctx context.Context, p profiles, name string, seen []string) (sdk.Credentials, error) {
	own := p.of[name]
	region := c.s.region()
	if region == "" {
		region = own["region"]
	}
	arn := own["role_arn"]
	if file := own["web_identity_token_file"]; file != "" && own["source_profile"] == "" && own["aws_access_key_id"] == "" && own["credential_source"] == "" {
		return c.webIdentity(ctx, file, arn, own["role_session_name"], region)
	}
	from, err := c.source(p, name, seen)
	if err != nil {
		return sdk.Credentials{}, fmt.Errorf("%w: profile %q: %w", auth.ErrCredentials, name, err)
	}
	if arn == "" {
		return from.Retrieve(ctx)
	}
	if own["mfa_serial"] != "" {
		return sdk.Credentials{}, retry.Permanent(fmt.Errorf("%w: profile %q: mfa_serial asks for a code that somebody has to type; export keys instead: aws configure export-credentials", auth.ErrCredentials, name))
	}
	role := &assumed{
		from: from, at: c.s.endpoint("", region), http: c.s.http(), arn: arn,
		external: cred.Redact(own["external_id"]), session: own["role_session_name"],
	}
	if n, err := strconv.Atoi(own["duration_seconds"]); err == nil {
		role.duration = time.Duration(n) * time.Second
	}
	if role.session == "" {
		role.session = "latchkey"
	}
	return role.Retrieve(ctx)
}

// retriever is Credentials made of a function.
type retriever func(context.Context) (sdk.Credentials, error)

// Retrieve implements Credentials.
func (r retriever) Retrieve(ctx context.Context) (sdk.Credentials, error) { return r(ctx) }

// source is the keys that a profile has, or those that it takes its role on with.
func (c *chain) source(p profiles, name string, seen []string) (Credentials, error) {
	own := p.of[name]
	keys := static{id: own["aws_access_key_id"], secret: cred.Redact(own["aws_secret_access_key"]), token: cred.Redact(own["aws_session_token"]), source: "a profile"}
	has := keys.id != "" && !keys.secret.Empty()
	next, named := own["source_profile"], own["credential_source"]
	seen = append(seen, name)
	switch {
	case own["role_arn"] != "" && next != "" && next != name:
		for _, s := range seen {
			if s == next {
				return nil, retry.Permanent(fmt.Errorf("source_profile goes round in a circle: %s", strings.Join(append(seen, next), ", ")))
			}
		}
		if p.of[next] == nil {
			return nil, fmt.Errorf("source_profile names %q, which is not there", next)
		}
		return retriever(func(ctx context.Context) (sdk.Credentials, error) { return c.fromProfile(ctx, p, next, seen) }), nil
	case has:
		return keys, nil
	case own["role_arn"] != "" && next == name:
		return nil, errors.New("source_profile names the profile itself, which has no keys")
	case named != "":
		return c.namedSource(named)
	case own["sso_account_id"] != "" || own["sso_session"] != "":
		return c.sso(p, name)
	case own["credential_process"] != "", own["login_session"] != "":
		return nil, retry.Permanent(errors.New("credential_process and login_session need another program, and none is started for keys here; hand over what aws configure export-credentials prints"))
	case own["role_arn"] != "":
		return nil, errors.New("role_arn needs source_profile, credential_source or web_identity_token_file")
	}
	if from, ok := c.s.container(); ok {
		return from, nil
	}
	return c.instance(), nil
}

func (c *chain) namedSource(name string) (Credentials, error) {
	switch name {
	case "Environment":
		keys, ok := c.s.fromEnv()
		if !ok {
			return nil, errors.New("credential_source is Environment, and AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set")
		}
		return keys, nil
	case "EcsContainer":
		if from, ok := c.s.container(); ok {
			return from, nil
		}
		return nil, errors.New("credential_source is EcsContainer, and AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI is not set")
	case "Ec2InstanceMetadata":
		return c.s.imds(), nil
	}
	return nil, errors.New("credential_source is neither Environment nor EcsContainer nor Ec2InstanceMetadata")
}

// instance is where keys are looked for last; who gets there without being on an
// instance wants to know what else was looked for.
func (c *chain) instance() Credentials {
	return retriever(func(ctx context.Context) (sdk.Credentials, error) {
		keys, err := c.s.imds().Retrieve(ctx)
		if err != nil {
			err = fmt.Errorf("no AWS keys in the environment, in a profile or at a container's endpoint, and none of an instance: %w", err)
		}
		return keys, err
	})
}

// webIdentity takes a role on with a token from a file, such as a pod has.
func (c *chain) webIdentity(ctx context.Context, file, arn, session, region string) (sdk.Credentials, error) {
	if arn == "" {
		return sdk.Credentials{}, fmt.Errorf("%w: there is a web identity token file and no role: set AWS_ROLE_ARN", auth.ErrCredentials)
	}
	content, err := slurp(file)
	token := cred.Redact(strings.TrimSpace(content))
	if err == nil && token.Empty() {
		err = errors.New(file + " is empty")
	}
	if err != nil {
		return sdk.Credentials{}, fmt.Errorf("%w: web identity token: %w", auth.ErrCredentials, err)
	}
	if session == "" {
		session = "latchkey"
	}
	form := url.Values{"RoleArn": {arn}, "RoleSessionName": {session}, "WebIdentityToken": {token.Reveal()}}
	const action = "AssumeRoleWithWebIdentity"
	result, err := c.s.endpoint("", region).call(ctx, c.s.http(), nil, action, form, token)
	if err != nil {
		return sdk.Credentials{}, err
	}
	return temporary(result, "sts:"+action)
}
