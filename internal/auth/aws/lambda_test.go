package aws

import (
	"errors"
	"testing"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/awstest"
)

// Under SnapStart a function has no keys in its environment.
func TestARestoredFunctionLogsInWithTheKeysOfItsEndpoint(t *testing.T) {
	a := awstest.Start(t)
	s := serve(t, a.URL)
	b := try(t, a, s, FromLambda, "aws", a.ContainerEnviron(), iamBlock(nil))
	b.ok()
	b.ok()
	if n := a.Calls("container"); n != 1 || s.who() != "arn:aws:sts::"+awstest.Account+":assumed-role/function-role/restored" {
		t.Errorf("%s logged in, and the endpoint was asked %d times", s.who(), n)
	}
	// Keys that were taken back are asked for again.
	keys, err := b.m.(*iam).credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a.Expire(keys.AccessKeyID)
	b.no("the keys have expired")
	a.Live(time.Hour)
	b.ok()
	if n := a.Calls("container"); n != 2 {
		t.Errorf("the endpoint was asked %d times", n)
	}
}

func TestAFunctionWithoutKeysIsToldWhatIsMissing(t *testing.T) {
	a := awstest.Start(t)
	s := serve(t, a.URL)
	err := try(t, a, s, FromLambda, "aws", []string{"AWS_REGION=eu-central-1"}, iamBlock(nil)).no("neither AWS_ACCESS_KEY_ID", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if !errors.Is(err, auth.ErrCredentials) || len(s.paths) != 0 {
		t.Errorf("%v, and the server saw %v", err, s.paths)
	}
	a.Fail("container", awstest.Fault{Status: 500, Code: "InternalError", Message: "try again"})
	try(t, a, s, FromLambda, "aws", a.ContainerEnviron(), iamBlock(nil)).no("container credentials at", "500 InternalError try again")
}
