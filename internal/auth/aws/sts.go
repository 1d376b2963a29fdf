package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

const (
	formType   = "application/x-www-form-urlencoded; charset=utf-8"
	stsVersion = "2011-06-15"
)

// signed makes a request of STS and signs it as of now. A signature is good for
// fifteen minutes, so it is made when it is used.
func (e endpoint) signed(ctx context.Context, keys sdk.Credentials, body string, header http.Header) (*http.Request, error) {
	r, err := e.request(ctx, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		r.Header[k] = v
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, keys, r, hex.EncodeToString(sum[:]), "sts", e.region, time.Now()); err != nil {
		return nil, fmt.Errorf("%w: cannot sign for %s: %w", auth.ErrCredentials, e.url, err)
	}
	return r, nil
}

func (e endpoint) request(ctx context.Context, body string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, strings.NewReader(body))
	if err == nil && (r.URL.Host == "" || r.URL.Scheme != "http" && r.URL.Scheme != "https") {
		err = errors.New("not a URL")
	}
	if err != nil {
		return nil, retry.Permanent(fmt.Errorf("the STS endpoint %q is not an http or https URL", e.url))
	}
	r.Header.Set("Content-Type", formType)
	return r, nil
}

// call sends an action to STS, signed unless keys is nil, and returns what is in the
// element ACTIONResult of the answer. None of secrets gets into an error.
func (e endpoint) call(ctx context.Context, c *http.Client, keys *sdk.Credentials, action string, form url.Values, secrets ...cred.Redacted) (string, error) {
	form.Set("Action", action)
	form.Set("Version", stsVersion)
	what, body := "sts:"+action, form.Encode()
	r, err := e.request(ctx, body)
	if keys != nil {
		secrets = append(secrets, secretsOf(*keys)...)
		r, err = e.signed(ctx, *keys, body, nil)
	}
	if err != nil {
		return "", err
	}
	resp, answer, err := send(c, what, r)
	if err != nil {
		return "", fmt.Errorf("%w (%s is asked for this, beside the server; from within a VPC that takes a way out or an endpoint for STS)", err, origin(r.URL))
	}
	if resp.StatusCode != http.StatusOK {
		no := &refusal{what: what, where: origin(r.URL), status: resp.StatusCode, after: retryAfter(resp.Header)}
		no.code, no.message = complaint(answer)
		no.message = scrub(no.message, secrets...)
		no.hint = hintSTS(action, no.code, no.message)
		return "", no.kinded()
	}
	result, ok := element(string(answer), action+"Result")
	if !ok {
		return "", fmt.Errorf("%w: %s at %s: the answer makes no sense", auth.ErrCredentials, what, origin(r.URL))
	}
	return result, nil
}

// hintSTS says what to do about a refusal, where that is known.
func hintSTS(action, code, message string) string {
	switch code {
	case "AccessDenied":
		switch action {
		case "AssumeRole":
			return "may these keys assume the role, and does the role trust them, with this external id, these tags and this session name?"
		case "GetWebIdentityToken":
			return "the role needs the permission sts:GetWebIdentityToken, maybe for this audience, duration and algorithm alone"
		}
	case "OutboundWebIdentityFederationDisabledException":
		return "turn it on once for the account: aws iam enable-outbound-web-identity-federation"
	case "SessionDurationEscalationException":
		return "a JWT may not outlive the keys it is asked for with: give a shorter duration"
	case "SignatureDoesNotMatch":
		if strings.Contains(message, "expired") || strings.Contains(message, "not yet current") {
			return "is the clock here right?"
		}
		return "is the secret key right, and is this the endpoint of the region that was signed for?"
	case "InvalidClientTokenId", "UnrecognizedClientException":
		return "the keys are not known there: deleted, of another partition, or temporary ones without their session token"
	}
	return ""
}

// temporary reads the element Credentials of an answer.
func temporary(result, source string) (sdk.Credentials, error) {
	inner, _ := element(result, "Credentials")
	return checked(sdk.Credentials{
		AccessKeyID: text(inner, "AccessKeyId"), SecretAccessKey: text(inner, "SecretAccessKey"),
		SessionToken: text(inner, "SessionToken"), Source: source,
	}, text(inner, "Expiration"))
}

// checked is c with the end as AWS wrote it, if it is usable.
func checked(c sdk.Credentials, expiration string) (sdk.Credentials, error) {
	if c.AccessKeyID == "" || c.SecretAccessKey == "" {
		return sdk.Credentials{}, fmt.Errorf("%w: %s answered without keys", auth.ErrCredentials, c.Source)
	}
	if expiration == "" {
		return c, nil
	}
	end, err := time.Parse(time.RFC3339, expiration)
	if err != nil {
		return sdk.Credentials{}, fmt.Errorf("%w: %s answered with keys whose end makes no sense", auth.ErrCredentials, c.Source)
	}
	c.CanExpire, c.Expires = true, end
	return c, nil
}

// secretsOf is what of keys must not be told. The id of an access key is its name.
func secretsOf(c sdk.Credentials) []cred.Redacted {
	return []cred.Redacted{cred.Redact(c.SecretAccessKey), cred.Redact(c.SessionToken)}
}

// seconds is d for a form.
func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
