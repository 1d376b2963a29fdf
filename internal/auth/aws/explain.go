package aws

import (
	"errors"
	"fmt"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"latchkey/internal/vault"
)

// explained adds to a refused login what was signed and what may be at odds, and
// takes out of the server's words what AWS may have repeated of the request.
func explained(err error, at endpoint, keys sdk.Credentials, header string) error {
	var e *vault.Error
	if !errors.As(err, &e) {
		return err
	}
	for i, m := range e.Messages {
		e.Messages[i] = scrub(m, secretsOf(keys)...)
	}
	if kind := passing(strings.Join(e.Messages, " ")); kind != nil && errors.Is(err, vault.ErrBadRequest) {
		e.Kind = kind
	}
	if hint := hintLogin(strings.Join(e.Messages, " "), at, header); hint != "" {
		return fmt.Errorf("%w (%s)", err, hint)
	}
	return err
}

// passing is the kind of a refusal that is none of the server's: it answers 400 too
// when STS has enough of it, fails or is out of reach. A crowd of logins that AWS
// slows down has to come back later, not to give up.
func passing(said string) error {
	_, code, answered := strings.Cut(said, "received error code ")
	switch {
	case strings.Contains(said, "<Code>Throttling") || strings.Contains(said, "<Code>RequestLimitExceeded") || strings.Contains(said, "<Code>TooManyRequests"):
		return vault.ErrRateLimited
	case answered && strings.HasPrefix(code, "5"), strings.Contains(said, "error making upstream request") && !answered:
		return vault.ErrServer
	}
	return nil
}

// hintLogin reads the server's words. It repeats those of STS, as XML, in its own.
func hintLogin(said string, at endpoint, header string) string {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(said, p) {
				return true
			}
		}
		return false
	}
	signed := "what was signed is for " + at.url + " in region " + at.region
	switch {
	case passing(said) != nil:
		return "the server passes what was signed on to STS, and that went wrong there"
	case has("Signature expired", "Signature not yet current"):
		return "a signature is good for 15 minutes: the clock here and that of AWS differ"
	case has("valid region"), has("SignatureDoesNotMatch"):
		return signed + ", and the server passes it on to the STS endpoint of its own configuration, sts_endpoint and sts_region of its AWS auth method: " +
			"set region (VAULT_STS_ENDPOINT_REGION in Lambda) to that sts_region, leave it out where the server has none, or give the server use_sts_region_from_client=true; " +
			"if they agree, the secret key is wrong"
	case has("missing header") && has("Server-ID", "Server-Id", "server ID", "server-id"), has("error validating X-Vault-AWS-IAM-Server-ID header", "error validating X-Vault-AWS-IAM-Server-Id header"):
		if header == "" {
			return "the server wants its own name in the signature: set header_value (VAULT_IAM_SERVER_ID for the Lambda extension) to the server's iam_server_id_header_value"
		}
		return "header_value (VAULT_IAM_SERVER_ID for the Lambda extension) is not the server's iam_server_id_header_value"
	case has("InvalidClientTokenId"):
		return "AWS does not know these keys at that endpoint: deleted, of another partition, of a region that is not enabled, or temporary ones without their session token"
	case has("ExpiredToken"):
		return "the keys have expired"
	}
	return ""
}
