package awstest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
)

// client is the SDK's own, with keys, for an endpoint.
func client(k Keys, url, region string) *sts.Client {
	return sts.New(sts.Options{
		Region: region, BaseEndpoint: &url, RetryMaxAttempts: 1,
		Credentials: sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) {
			return sdk.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret, SessionToken: k.Token}, nil
		}),
	})
}

func code(t *testing.T, err error) string {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) {
		t.Fatalf("not an answer of AWS: %v", err)
	}
	return e.ErrorCode()
}

func TestTheSDKFindsOutWhoItIs(t *testing.T) {
	a := Start(t)
	for name, k := range map[string]Keys{"keys that last": a.User, "keys with a session": a.Function} {
		for region, url := range map[string]string{"us-east-1": a.URL, "eu-central-1": a.STS("eu-central-1")} {
			out, err := client(k, url, region).GetCallerIdentity(t.Context(), nil)
			if err != nil || *out.Arn != k.ARN || *out.Account != Account || *out.UserId == "" {
				t.Errorf("%s, %s: %+v, %v", name, region, out, err)
			}
		}
	}
	if n := a.Calls("GetCallerIdentity"); n != 4 {
		t.Errorf("%d calls were counted", n)
	}
}

func TestTheSDKIsRefusedAsAWSDoes(t *testing.T) {
	a := Start(t)
	with := func(change func(*Keys)) Keys { k := a.Function; change(&k); return k }
	expired := a.Function
	for _, tc := range []struct {
		name, region, code, message string
		keys                        Keys
		before                      func()
	}{
		{name: "another region", region: "eu-central-1", keys: a.User, code: "SignatureDoesNotMatch", message: "valid region"},
		{name: "a wrong secret", region: "us-east-1", keys: with(func(k *Keys) { k.Secret += "x" }), code: "SignatureDoesNotMatch", message: "does not match"},
		{name: "an unknown key", region: "us-east-1", keys: with(func(k *Keys) { k.ID = "AKIAUNKNOWN" }), code: "InvalidClientTokenId"},
		{name: "no session token", region: "us-east-1", keys: with(func(k *Keys) { k.Token = "" }), code: "InvalidClientTokenId"},
		{name: "a clock that is late", region: "us-east-1", keys: a.User, before: func() { a.Skew(16 * time.Minute) }, code: "SignatureDoesNotMatch", message: "Signature expired"},
		{name: "a clock that is early", region: "us-east-1", keys: a.User, before: func() { a.Skew(-16 * time.Minute) }, code: "SignatureDoesNotMatch", message: "not yet current"},
		{name: "keys at their end", region: "us-east-1", keys: expired, before: func() { a.Skew(0); a.Expire(expired.ID) }, code: "ExpiredToken"},
		{name: "throttling", region: "us-east-1", keys: a.User, before: func() { a.Fail("GetCallerIdentity", Fault{Status: 400, Code: "Throttling"}) }, code: "Throttling"},
	} {
		if tc.before != nil {
			tc.before()
		}
		_, err := client(tc.keys, a.URL, tc.region).GetCallerIdentity(t.Context(), nil)
		if code(t, err) != tc.code || !strings.Contains(err.Error(), tc.message) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestTheSDKTakesOnARole(t *testing.T) {
	a := Start(t)
	arn, session, external := RoleARN, "vault_auth", ExternalID
	tags := []types.Tag{{Key: sdk.String("team"), Value: sdk.String("payments")}, {Key: sdk.String("stage"), Value: sdk.String("prod & more")}}
	in := sts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: &session, ExternalId: &external, Tags: tags, DurationSeconds: sdk.Int32(900)}
	out, err := client(a.User, a.URL, "us-east-1").AssumeRole(t.Context(), &in)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(*out.Credentials.Expiration); left < 14*time.Minute || left > 15*time.Minute {
		t.Errorf("the keys are good for %s", left)
	}
	k := Keys{ID: *out.Credentials.AccessKeyId, Secret: *out.Credentials.SecretAccessKey, Token: *out.Credentials.SessionToken}
	who, err := client(k, a.URL, "us-east-1").GetCallerIdentity(t.Context(), nil)
	if err != nil || *who.Arn != "arn:aws:sts::"+Account+":assumed-role/vault-reader/vault_auth" {
		t.Errorf("%+v, %v", who, err)
	}
	for _, tc := range []struct {
		name, code string
		keys       Keys
		change     func(*sts.AssumeRoleInput)
	}{
		{"no external id", "AccessDenied", a.User, func(in *sts.AssumeRoleInput) { in.ExternalId = nil }},
		{"another external id", "AccessDenied", a.User, func(in *sts.AssumeRoleInput) { in.ExternalId = sdk.String("other") }},
		{"no tags", "AccessDenied", a.User, func(in *sts.AssumeRoleInput) { in.Tags = nil }},
		{"a role that is not there", "AccessDenied", a.User, func(in *sts.AssumeRoleInput) { in.RoleArn = sdk.String(RoleARN + "x") }},
		{"a session without a name", "ValidationError", a.User, func(in *sts.AssumeRoleInput) { in.RoleSessionName = sdk.String("a b") }},
		{"too short", "ValidationError", a.User, func(in *sts.AssumeRoleInput) { in.DurationSeconds = sdk.Int32(899) }},
		{"too long", "ValidationError", a.User, func(in *sts.AssumeRoleInput) { in.DurationSeconds = sdk.Int32(7201) }},
		{"too long for a chain", "ValidationError", a.Function, func(in *sts.AssumeRoleInput) { in.DurationSeconds = sdk.Int32(3601) }},
		{"a parameter that is not known here", "ValidationError", a.User, func(in *sts.AssumeRoleInput) { in.SourceIdentity = sdk.String("x") }},
	} {
		in := in
		tc.change(&in)
		if _, err := client(tc.keys, a.URL, "us-east-1").AssumeRole(t.Context(), &in); code(t, err) != tc.code {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestTheSDKTakesOnARoleWithAToken(t *testing.T) {
	a := Start(t)
	in := sts.AssumeRoleWithWebIdentityInput{RoleArn: sdk.String(RoleARN), RoleSessionName: sdk.String("pod"), WebIdentityToken: sdk.String(a.ServiceAccountToken())}
	out, err := client(Keys{}, a.URL, "us-east-1").AssumeRoleWithWebIdentity(t.Context(), &in)
	if err != nil || *out.Credentials.AccessKeyId == "" {
		t.Fatal(err)
	}
	in.WebIdentityToken = sdk.String("another")
	if _, err := client(Keys{}, a.URL, "us-east-1").AssumeRoleWithWebIdentity(t.Context(), &in); code(t, err) != "InvalidIdentityToken" {
		t.Errorf("%v", err)
	}
}

func TestTheSDKGetsAJWT(t *testing.T) {
	a := Start(t)
	for _, alg := range []string{"RS256", "ES384"} {
		in := sts.GetWebIdentityTokenInput{Audience: []string{"vault", "bao"}, SigningAlgorithm: &alg, DurationSeconds: sdk.Int32(60),
			Tags: []types.Tag{{Key: sdk.String("team"), Value: sdk.String("payments")}}}
		out, err := client(a.Function, a.STS("eu-central-1"), "eu-central-1").GetWebIdentityToken(t.Context(), &in)
		if err != nil {
			t.Fatal(err)
		}
		claims := verified(t, a, *out.WebIdentityToken)
		if claims["iss"] != a.URL || claims["sub"] != "arn:aws:iam::"+Account+":role/function-role" || len(claims["aud"].([]any)) != 2 {
			t.Errorf("%v", claims)
		}
		if about := claims["https://sts.amazonaws.com/"].(map[string]any); about["request_tags"].(map[string]any)["team"] != "payments" || about["source_region"] != "eu-central-1" {
			t.Errorf("%v", about)
		}
		if life := claims["exp"].(float64) - claims["iat"].(float64); life != 60 {
			t.Errorf("good for %v s", life)
		}
		if _, err := client(a.Function, a.URL, "us-east-1").GetWebIdentityToken(t.Context(), &in); code(t, err) != "InvalidAction" {
			t.Errorf("the global endpoint: %v", err)
		}
		in.DurationSeconds = sdk.Int32(3601)
		if _, err := client(a.Function, a.STS("eu-central-1"), "eu-central-1").GetWebIdentityToken(t.Context(), &in); code(t, err) != "ValidationError" {
			t.Errorf("too long: %v", err)
		}
		a.Federate(false)
		in.DurationSeconds = nil
		_, err = client(a.Function, a.STS("eu-central-1"), "eu-central-1").GetWebIdentityToken(t.Context(), &in)
		var off *types.OutboundWebIdentityFederationDisabledException
		if !errors.As(err, &off) {
			t.Errorf("turned off: %v", err)
		}
		a.Federate(true)
	}
}

// verified is the claims of a JWT that the keys at the issuer's address speak for.
func verified(t *testing.T, a *AWS, jwt string) map[string]any {
	t.Helper()
	var discovered struct{ Issuer, Jwks_uri string }
	get(t, a.URL+"/.well-known/openid-configuration", &discovered)
	var set struct{ Keys []map[string]string }
	get(t, discovered.Jwks_uri, &set)
	parts := strings.Split(jwt, ".")
	var head map[string]string
	part(t, parts[0], &head)
	signature, err := b64.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	good := false
	for _, k := range set.Keys {
		if k["kid"] != head["kid"] {
			continue
		}
		if text := []byte(parts[0] + "." + parts[1]); k["kty"] == "RSA" {
			sum := sha256.Sum256(text)
			key := &rsa.PublicKey{N: number(t, k["n"]), E: int(number(t, k["e"]).Int64())}
			good = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
		} else {
			sum := sha512.Sum384(text)
			point := append([]byte{4}, number(t, k["x"]).FillBytes(make([]byte, 48))...)
			key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P384(), append(point, number(t, k["y"]).FillBytes(make([]byte, 48))...))
			if err != nil {
				t.Fatal(err)
			}
			good = ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(signature[:48]), new(big.Int).SetBytes(signature[48:]))
		}
	}
	if !good || discovered.Issuer != a.URL {
		t.Fatalf("nobody speaks for %s", parts[0])
	}
	var claims map[string]any
	part(t, parts[1], &claims)
	return claims
}

func number(t *testing.T, s string) *big.Int {
	t.Helper()
	b, err := b64.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return new(big.Int).SetBytes(b)
}

func part(t *testing.T, s string, v any) {
	t.Helper()
	b, err := b64.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, url string, v any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		t.Fatal(err)
	}
}

// The chain of the SDK finds keys here by the variables that this room gives.
func TestTheSDKFindsKeysInTheMetadataServices(t *testing.T) {
	a := Start(t)
	for name, tc := range map[string]struct {
		env   []string
		count string
	}{
		"instance":  {a.InstanceEnviron(), "imds"},
		"container": {a.ContainerEnviron(), "container"},
		"variables": {a.Function.Environ(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			clean(t)
			for _, e := range tc.env {
				k, v, _ := strings.Cut(e, "=")
				t.Setenv(k, v)
			}
			cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"))
			if err != nil {
				t.Fatal(err)
			}
			keys, err := cfg.Credentials.Retrieve(t.Context())
			if err != nil || keys.SessionToken == "" {
				t.Fatal(err)
			}
			if tc.count != "" && a.Calls(tc.count) == 0 {
				t.Error("it was not asked")
			}
			if _, err := client(Keys{ID: keys.AccessKeyID, Secret: keys.SecretAccessKey, Token: keys.SessionToken}, a.URL, "us-east-1").GetCallerIdentity(t.Context(), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheMetadataServiceAnswersOnlyInASession(t *testing.T) {
	a := Start(t)
	for path, want := range map[string]int{
		"/latest/meta-data/placement/region": http.StatusUnauthorized, "/2021-04-23/credentials": http.StatusUnauthorized,
		"/federation/credentials?account_id=" + Account + "&role_name=x": http.StatusUnauthorized, "/nowhere": http.StatusNotFound,
	} {
		resp, err := http.Get(a.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

// clean takes the variables away that a machine may have set.
func clean(t *testing.T) {
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/credentials")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/config")
}
