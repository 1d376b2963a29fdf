package aws

import (
	"context"
	"crypto/sha1" // names a file, as the AWS command line has it
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

// sso gets the keys of a role with the login of a person, which aws sso login keeps in
// a file.
type sso struct {
	s             Settings
	profile       string
	portal        string
	account, role string
	cache         string // file of the login
}

// sso is for a profile of single sign-on: the one with a session of its own, and the
// older one without.
func (c *chain) sso(p profiles, name string) (Credentials, error) {
	own := p.of[name]
	session, key := own, own["sso_start_url"]
	if n := own["sso_session"]; n != "" {
		if session, key = p.sessions[n], n; session == nil {
			return nil, fmt.Errorf("sso_session names %q, which is not in %s", n, p.files[0])
		}
	}
	if session["sso_region"] == "" || session["sso_start_url"] == "" || own["sso_account_id"] == "" || own["sso_role_name"] == "" {
		return nil, errors.New("single sign-on needs sso_start_url, sso_region, sso_account_id and sso_role_name")
	}
	home := c.s.first("HOME", "USERPROFILE")
	if home == "" {
		return nil, errors.New("single sign-on needs HOME: the login is kept there")
	}
	sum := sha1.Sum([]byte(key))
	s := &sso{
		s: c.s, profile: name, account: own["sso_account_id"], role: own["sso_role_name"], portal: c.s.env("AWS_ENDPOINT_URL_SSO"),
		cache: filepath.Join(home, ".aws", "sso", "cache", hex.EncodeToString(sum[:])+".json"),
	}
	if s.portal == "" {
		s.portal = "https://portal.sso." + session["sso_region"] + "." + partitionOf(session["sso_region"]).domain
	}
	return s, nil
}

// Retrieve implements Credentials.
func (s *sso) Retrieve(ctx context.Context) (sdk.Credentials, error) {
	login, err := s.login()
	if err != nil {
		return sdk.Credentials{}, fmt.Errorf("%w: profile %q: %w (log in: aws sso login --profile %s)", auth.ErrCredentials, s.profile, err, s.profile)
	}
	to := strings.TrimSuffix(s.portal, "/") + "/federation/credentials?" + url.Values{"account_id": {s.account}, "role_name": {s.role}}.Encode()
	const what = "single sign-on"
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return sdk.Credentials{}, fmt.Errorf("%w: AWS_ENDPOINT_URL_SSO is not a URL", auth.ErrCredentials)
	}
	r.Header["X-Amz-Sso_bearer_token"] = []string{login.Reveal()}
	resp, body, err := send(s.s.http(), what, r)
	if err != nil {
		return sdk.Credentials{}, err
	}
	if resp.StatusCode != http.StatusOK {
		code, message := complaint(body)
		if code == "" {
			code, _, _ = strings.Cut(resp.Header.Get("X-Amzn-Errortype"), ":")
		}
		no := &refusal{what: what, where: origin(r.URL), status: resp.StatusCode, code: code, message: scrub(message, login), after: retryAfter(resp.Header)}
		switch resp.StatusCode {
		case http.StatusUnauthorized:
			no.hint = "log in: aws sso login --profile " + s.profile
		case http.StatusForbidden:
			no.hint = "has this person the role sso_role_name in the account sso_account_id?"
		}
		return sdk.Credentials{}, no.kinded()
	}
	var j struct {
		RoleCredentials struct {
			AccessKeyID, SecretAccessKey, SessionToken string
			Expiration                                 int64 // ms since 1970
		}
	}
	if err := json.Unmarshal(body, &j); err != nil {
		return sdk.Credentials{}, fmt.Errorf("%w: %s answered with something that is not JSON", auth.ErrCredentials, what)
	}
	c, end := j.RoleCredentials, ""
	if c.Expiration > 0 {
		end = time.UnixMilli(c.Expiration).UTC().Format(time.RFC3339)
	}
	return checked(sdk.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Source: what}, end)
}

// login reads the token of the person, if it is still good.
func (s *sso) login() (cred.Redacted, error) {
	content, err := slurp(s.cache)
	if errors.Is(err, fs.ErrNotExist) {
		return cred.Redacted{}, retry.Permanent(errors.New("nobody has logged in"))
	}
	if err != nil {
		return cred.Redacted{}, err
	}
	var j struct{ AccessToken, ExpiresAt string }
	if json.Unmarshal([]byte(content), &j) != nil || j.AccessToken == "" {
		return cred.Redacted{}, errors.New("the login in " + s.cache + " makes no sense")
	}
	// Older ones are written with "UTC" for "Z".
	end, err := time.Parse(time.RFC3339, strings.Replace(j.ExpiresAt, "UTC", "Z", 1))
	if err != nil || !time.Now().Round(0).Before(end) {
		return cred.Redacted{}, retry.Permanent(errors.New("the login has expired"))
	}
	return sane(cred.Redact(j.AccessToken), s.cache)
}
