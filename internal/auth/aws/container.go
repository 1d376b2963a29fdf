package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
)

// container asks the endpoint that ECS, EKS Pod Identity and a Lambda function
// restored by SnapStart have for their keys.
type container struct {
	// to is the URL.
	to string
	// token authorizes; tokenFile is read each time and wins.
	token     cred.Redacted
	tokenFile string
	http      *http.Client
}

// container is the endpoint that the environment names, if it names one.
func (s Settings) container() (Credentials, bool) {
	c := &container{
		to: s.env("AWS_CONTAINER_CREDENTIALS_FULL_URI"), http: s.local(),
		token: cred.Redact(s.env("AWS_CONTAINER_AUTHORIZATION_TOKEN")), tokenFile: s.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
	}
	if path := s.env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); path != "" {
		c.to = "http://169.254.170.2" + path
	}
	return c, c.to != ""
}

// local is the client for addresses that no proxy stands before.
func (s Settings) local() *http.Client {
	if s.HTTP != nil {
		return s.HTTP
	}
	return direct(nil)
}

// Retrieve implements Credentials.
func (c *container) Retrieve(ctx context.Context) (sdk.Credentials, error) {
	const what = "container credentials"
	if err := nearby(c.to); err != nil {
		return sdk.Credentials{}, err
	}
	token, err := c.authorization()
	if err != nil {
		return sdk.Credentials{}, err
	}
	header := http.Header{"Accept": {"application/json"}}
	if !token.Empty() {
		header.Set("Authorization", token.Reveal())
	}
	body, err := fetch(ctx, c.http, what, c.to, header, token)
	if err != nil {
		return sdk.Credentials{}, err
	}
	return fromJSON(body, what)
}

func (c *container) authorization() (cred.Redacted, error) {
	if c.tokenFile == "" {
		return sane(c.token, "AWS_CONTAINER_AUTHORIZATION_TOKEN")
	}
	data, err := slurp(c.tokenFile)
	if err != nil {
		return cred.Redacted{}, fmt.Errorf("%w: AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: %w", auth.ErrCredentials, err)
	}
	return sane(cred.Redact(data), "the file of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
}

// sane refuses a token that would end the header it goes into.
func sane(token cred.Redacted, where string) (cred.Redacted, error) {
	if strings.ContainsAny(token.Reveal(), "\r\n") {
		return cred.Redacted{}, fmt.Errorf("%w: %s holds a line break", auth.ErrCredentials, where)
	}
	return token, nil
}

// nearby refuses an endpoint in clear that is not on this machine: it would be sent
// a token and believed about keys. The addresses are those of ECS and EKS.
func nearby(to string) error {
	u, err := url.Parse(to)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%w: AWS_CONTAINER_CREDENTIALS_FULL_URI is not an http or https URL", auth.ErrCredentials)
	}
	if u.Scheme == "https" || u.Hostname() == "localhost" {
		return nil
	}
	ip := net.ParseIP(u.Hostname())
	switch {
	case ip != nil && ip.IsLoopback(), u.Hostname() == "169.254.170.2", u.Hostname() == "169.254.170.23",
		ip != nil && ip.Equal(net.ParseIP("fd00:ec2::23")):
		return nil
	}
	return fmt.Errorf("%w: AWS_CONTAINER_CREDENTIALS_FULL_URI names %s, which is neither this machine nor an address of ECS or EKS; only https may go there",
		auth.ErrCredentials, u.Hostname())
}

// fromJSON reads keys as the metadata services write them.
func fromJSON(body []byte, source string) (sdk.Credentials, error) {
	var j struct {
		Code, Message, Expiration           string
		AccessKeyID, SecretAccessKey, Token string
	}
	if err := json.Unmarshal(body, &j); err != nil {
		return sdk.Credentials{}, fmt.Errorf("%w: %s answered with something that is not JSON", auth.ErrCredentials, source)
	}
	if j.Code != "" && j.Code != "Success" {
		return sdk.Credentials{}, fmt.Errorf("%w: %s answered %s", auth.ErrCredentials, source, strings.TrimSpace(j.Code+" "+j.Message))
	}
	return checked(sdk.Credentials{AccessKeyID: j.AccessKeyID, SecretAccessKey: j.SecretAccessKey, SessionToken: j.Token, Source: source}, j.Expiration)
}

// slurp reads a small file.
func slurp(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxAnswer))
	return string(data), err
}
