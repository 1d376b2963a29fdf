package awstest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// amzDate is how a signature says when.
const amzDate = "20060102T150405Z"

// caller is who signed a request, or why it is not known.
func (a *AWS) caller(r *http.Request, body, region string) (Keys, *complaint) {
	credential, signedHeaders, signature, ok := authorization(r.Header.Get("Authorization"))
	if !ok {
		return Keys{}, deny("MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	scope := strings.Split(credential, "/")
	if len(scope) != 5 || signature == "" {
		return Keys{}, &complaint{400, "IncompleteSignature", "Credential must have exactly 5 slash-delimited elements"}
	}
	a.mu.Lock()
	keys, known := a.keys[scope[0]]
	now := a.now().UTC()
	a.mu.Unlock()
	if !known || keys.Token != r.Header.Get("X-Amz-Security-Token") {
		return Keys{}, deny("InvalidClientTokenId", "The security token included in the request is invalid.")
	}
	at, err := time.Parse(amzDate, r.Header.Get("X-Amz-Date"))
	if err != nil || scope[1] != at.Format("20060102") {
		return Keys{}, &complaint{400, "IncompleteSignature", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP"}
	}
	if c := placed(scope, r.Host, region); c != nil {
		return Keys{}, c
	}
	if c := timely(at, now); c != nil {
		return Keys{}, c
	}
	if !slices.Contains(signedHeaders, "host") || !slices.IsSorted(signedHeaders) {
		return Keys{}, &complaint{400, "IncompleteSignature", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."}
	}
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(signedHeaders, name) {
			return Keys{}, deny("SignatureDoesNotMatch", "'"+name+"' must be a 'SignedHeader' in the AWS Authorization.")
		}
	}
	if again(r, body, scope[3], scope[2], signedHeaders, keys, at) != r.Header.Get("Authorization") {
		// Some services of AWS repeat what they made a signature of.
		return Keys{}, deny("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details. x-amz-security-token:"+keys.Token)
	}
	if !keys.Expires.IsZero() && !now.Before(keys.Expires) {
		return Keys{}, deny("ExpiredToken", "The security token included in the request is expired")
	}
	return keys, nil
}

// placed says whether a request was signed for this endpoint.
func placed(scope []string, host, region string) *complaint {
	here, hosts := region, []string{"sts." + region + ".amazonaws.com"}
	if region == "" {
		here, hosts = "us-east-1", []string{"sts.amazonaws.com", "sts.us-east-1.amazonaws.com"}
	}
	switch {
	case scope[3] != "sts", scope[4] != "aws4_request":
		return deny("SignatureDoesNotMatch", "Credential should be scoped to correct service: 'sts'. ")
	case scope[2] != here, strings.HasPrefix(host, "sts.") && !slices.Contains(hosts, host):
		return deny("SignatureDoesNotMatch", "Credential should be scoped to a valid region. ")
	}
	return nil
}

func timely(at, now time.Time) *complaint {
	const allowed = 15 * time.Minute
	switch {
	case at.Before(now.Add(-allowed)):
		return deny("SignatureDoesNotMatch", "Signature expired: "+at.Format(amzDate)+" is now earlier than "+now.Add(-allowed).Format(amzDate)+" ("+now.Format(amzDate)+" - 15 min.)")
	case at.After(now.Add(allowed)):
		return deny("SignatureDoesNotMatch", "Signature not yet current: "+at.Format(amzDate)+" is still later than "+now.Add(allowed).Format(amzDate)+" ("+now.Format(amzDate)+" + 15 min.)")
	}
	return nil
}

// authorization takes the header apart.
func authorization(h string) (credential string, headers []string, signature string, ok bool) {
	rest, ok := strings.CutPrefix(h, "AWS4-HMAC-SHA256 ")
	for _, part := range strings.Split(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch k {
		case "Credential":
			credential = v
		case "SignedHeaders":
			headers = strings.Split(v, ";")
		case "Signature":
			signature = v
		default:
			ok = false
		}
	}
	return credential, headers, signature, ok
}

// again is the header that the SDK's signer gives a request with these headers.
func again(r *http.Request, body, service, region string, headers []string, keys Keys, at time.Time) string {
	same, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+r.Host+r.URL.RequestURI(), nil)
	if err != nil {
		return ""
	}
	same.Host = r.Host
	for _, name := range headers {
		switch name {
		case "host":
		case "content-length":
			same.ContentLength = r.ContentLength
		default:
			same.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	sum := sha256.Sum256([]byte(body))
	c := sdk.Credentials{AccessKeyID: keys.ID, SecretAccessKey: keys.Secret, SessionToken: keys.Token}
	if err := v4.NewSigner().SignHTTP(r.Context(), c, same, hex.EncodeToString(sum[:]), service, region, at); err != nil {
		return ""
	}
	return same.Header.Get("Authorization")
}
