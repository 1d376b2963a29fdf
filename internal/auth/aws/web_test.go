package aws

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/awstest"
	"latchkey/internal/retry"
)

func TestAJWTIsSignedAndUsed(t *testing.T) {
	a := awstest.Start(t)
	s := serve(t, a.URL)
	env := append(a.Function.Environ(), "AWS_REGION=eu-central-1")
	block := map[string]any{
		"role": "web", "audience": "vault", "sts_endpoint": a.STS("eu-central-1"), "signing_algorithm": "ES384", "duration": "1m",
		"tags": map[string]any{"stage": "prod & more"},
	}
	b := try(t, a, s, FromLambda, "aws_web_identity", env, block)
	b.ok()
	if s.paths[0] != "auth/jwt/login" || s.last["role"] != "web" {
		t.Errorf("%v at %v", s.last["role"], s.paths)
	}
	jwt, _ := s.last["jwt"].(string)
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(jwt, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Iss string
		Sub string
		Aud []string
		STS struct {
			Tags map[string]string `json:"request_tags"`
		} `json:"https://sts.amazonaws.com/"`
	}
	if err := json.Unmarshal(body, &claims); err != nil {
		t.Fatal(err)
	}
	if claims.Aud[0] != "vault" || claims.Iss != a.URL || claims.Sub != "arn:aws:iam::"+awstest.Account+":role/function-role" || claims.STS.Tags["stage"] != "prod & more" {
		t.Errorf("%+v", claims)
	}
	delete(block, "role")
	block["region"] = "eu-central-1"
	block["access_key"], block["secret_key"] = a.User.ID, a.User.Secret
	try(t, a, s, FromLambda, "aws_web_identity", nil, block).ok()
	if _, ok := s.last["role"]; ok {
		t.Error("a role was sent that is not there")
	}
}

func TestAJWTThatIsNotSignedIsExplained(t *testing.T) {
	a := awstest.Start(t)
	s := serve(t, a.URL)
	regional := append(a.Function.Environ(), "AWS_REGION=eu-central-1", "AWS_ENDPOINT_URL_STS="+a.STS("eu-central-1"))
	block := map[string]any{"audience": "vault"}
	try(t, a, s, FromLambda, "aws_web_identity", a.Function.Environ(), block).no("no region", "only an STS of a region")
	a.Federate(false)
	err := try(t, a, s, FromLambda, "aws_web_identity", regional, block).no("enable-outbound-web-identity-federation")
	if !errors.Is(err, auth.ErrCredentials) || !retry.IsPermanent(err) {
		t.Errorf("kind: %v", err)
	}
	a.Federate(true)
	a.Fail("GetWebIdentityToken", awstest.Fault{Status: 403, Code: "AccessDenied", Message: "not authorized"}, awstest.Fault{Status: 200})
	try(t, a, s, FromLambda, "aws_web_identity", regional, block).no("the permission sts:GetWebIdentityToken")
	try(t, a, s, FromLambda, "aws_web_identity", regional, block).no("makes no sense")
	s.fails = func() (int, any) { return 400, map[string]any{"errors": []string{"invalid audience"}} }
	try(t, a, s, FromLambda, "aws_web_identity", regional, block).no("aws_web_identity at auth/jwt: ", "invalid audience")
}

func TestARoleIsTakenOnForAJWT(t *testing.T) {
	a := awstest.Start(t)
	s := serve(t, a.URL)
	env := append(a.User.Environ(), "AWS_REGION=eu-central-1", "AWS_ENDPOINT_URL_STS="+a.STS("eu-central-1"))
	b := try(t, a, s, FromLambda, "aws_web_identity", env, map[string]any{
		"audience": "vault", "assume_role_arn": awstest.RoleARN, "assume_role_external_id": awstest.ExternalID,
		"assume_role_tags": map[string]any{"team": "payments", "stage": "prod & more"},
	})
	b.ok()
	b.ok()
	if n := a.Calls("AssumeRole"); n != 1 {
		t.Errorf("the role was taken on %d times", n)
	}
	if w := b.m.(auth.Watcher); w.Every() != time.Minute || w.Fresh() {
		t.Error("the keys below are not watched as they should be")
	}
}
