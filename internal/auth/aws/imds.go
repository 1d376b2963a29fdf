package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
)

// imds asks the metadata service of an EC2 instance, in its second version alone:
// the first one answers whoever can make a program send a GET.
type imds struct {
	base string // without a slash at the end; "" when it is turned off
	http *http.Client
}

func (s Settings) imds() imds {
	i := imds{base: strings.TrimSuffix(s.env("AWS_EC2_METADATA_SERVICE_ENDPOINT"), "/"), http: s.local()}
	switch {
	case s.is("AWS_EC2_METADATA_DISABLED"):
		i.base = ""
	case i.base != "":
	case strings.EqualFold(s.env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"), "IPv6"):
		i.base = "http://[fd00:ec2::254]"
	default:
		i.base = "http://169.254.169.254"
	}
	return i
}

const metadata = "instance metadata"

// get reads one document.
func (i imds) get(ctx context.Context, path string) ([]byte, error) {
	if i.base == "" {
		return nil, fmt.Errorf("%w: %s: turned off by AWS_EC2_METADATA_DISABLED", auth.ErrCredentials, metadata)
	}
	// Where there is no such service, packets may just vanish.
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	token, err := i.token(ctx)
	if err != nil {
		return nil, err
	}
	return fetch(ctx, i.http, metadata, i.base+path, http.Header{"X-Aws-Ec2-Metadata-Token": {token.Reveal()}}, token)
}

// token opens a session, which lasts for what one login asks.
func (i imds) token(ctx context.Context) (cred.Redacted, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, i.base+"/latest/api/token", nil)
	if err != nil {
		return cred.Redacted{}, fmt.Errorf("%w: AWS_EC2_METADATA_SERVICE_ENDPOINT is not a URL", auth.ErrCredentials)
	}
	r.Header.Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
	resp, body, err := send(i.http, metadata, r)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w (there is such a service on an instance alone; for a container on one, it needs a hop limit of 2)", err)
	}
	if err != nil {
		return cred.Redacted{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return cred.Redacted{}, fmt.Errorf("%w: %w", auth.ErrCredentials, &refusal{what: metadata, where: origin(r.URL), status: resp.StatusCode})
	}
	return sane(cred.Redact(strings.TrimSpace(string(body))), metadata)
}

// Retrieve implements Credentials: the keys of the instance's role.
func (i imds) Retrieve(ctx context.Context) (sdk.Credentials, error) {
	const path = "/latest/meta-data/iam/security-credentials/"
	names, err := i.get(ctx, path)
	if err != nil {
		return sdk.Credentials{}, err
	}
	role, _, _ := strings.Cut(strings.TrimSpace(string(names)), "\n")
	if role == "" {
		return sdk.Credentials{}, fmt.Errorf("%w: %s: the instance has no role", auth.ErrCredentials, metadata)
	}
	body, err := i.get(ctx, path+url.PathEscape(strings.TrimSpace(role)))
	if err != nil {
		return sdk.Credentials{}, err
	}
	return fromJSON(body, metadata)
}

// Region implements locator.
func (i imds) Region(ctx context.Context) (string, error) {
	body, err := i.get(ctx, "/latest/meta-data/placement/region")
	return strings.TrimSpace(string(body)), err
}
