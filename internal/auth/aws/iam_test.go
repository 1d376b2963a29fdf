package aws

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/awstest"
	"latchkey/internal/config"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

func iamBlock(more map[string]any) map[string]any {
	b := map[string]any{"type": "iam", "role": "web"}
	for k, v := range more {
		b[k] = v
	}
	return b
}

func TestAFunctionLogsInWithTheKeysOfItsEnvironment(t *testing.T) {
	a := awstest.Start(t)
	s := serve(t, a.URL)
	b := try(t, a, s, FromLambda, "aws", append(a.Function.Environ(), "AWS_REGION=eu-central-1"), iamBlock(nil))
	b.ok()
	if s.who() != a.Function.ARN || s.last["role"] != "web" || s.paths[0] != "auth/aws/login" {
		t.Errorf("%s logged in as %v at %v", s.who(), s.last["role"], s.paths)
	}
	if n := a.Calls("GetCallerIdentity"); n != 1 {
		t.Errorf("STS was asked %d times, and by the server alone it is once", n)
	}
}

func TestARegionIsSignedForAndNamed(t *testing.T) {
	a := awstest.Start(t)
	for name, tc := range map[string]struct {
		block map[string]any
		env   []string
		sts   string
	}{
		"none, wherever we are":         {nil, []string{"AWS_REGION=eu-central-1"}, a.URL},
		"the first of all":              {map[string]any{"region": "us-east-1"}, nil, a.URL},
		"another":                       {map[string]any{"region": "eu-central-1"}, nil, a.STS("eu-central-1")},
		"found out":                     {map[string]any{"region": ""}, []string{"AWS_REGION=eu-central-1"}, a.STS("eu-central-1")},
		"an endpoint":                   {map[string]any{"sts_endpoint": a.URL}, nil, a.URL},
		"an endpoint in a region":       {map[string]any{"sts_endpoint": a.STS("ap-south-1") + "/", "region": "ap-south-1"}, nil, a.STS("ap-south-1")},
		"an endpoint of the SDK":        {nil, []string{"AWS_ENDPOINT_URL_STS=" + a.URL}, a.URL},
		"an endpoint of all of the SDK": {nil, []string{"AWS_ENDPOINT_URL=" + a.URL}, a.URL},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tc.sts)
			try(t, a, s, FromLambda, "aws", append(a.User.Environ(), tc.env...), iamBlock(tc.block)).ok()
			if s.who() != a.User.ARN {
				t.Errorf("%q logged in", s.who())
			}
		})
	}
}

func TestARefusedLoginSaysWhatToSet(t *testing.T) {
	a := awstest.Start(t)
	for name, tc := range map[string]struct {
		block  map[string]any
		sts    string
		id     string
		change func(*awstest.Keys)
		skew   time.Duration
		words  []string
	}{
		"the server asks another region": {nil, a.STS("eu-central-1"), "", nil, 0,
			[]string{"what was signed is for https://sts.amazonaws.com/ in region us-east-1", "set region (VAULT_STS_ENDPOINT_REGION in Lambda) to that sts_region", "use_sts_region_from_client"}},
		"we sign for another region": {map[string]any{"region": "eu-central-1"}, a.URL, "", nil, 0,
			[]string{"https://sts.eu-central-1.amazonaws.com/ in region eu-central-1", "leave it out where the server has none"}},
		"the server wants its name":        {nil, a.URL, "vault.example.com", nil, 0, []string{"set header_value", "VAULT_IAM_SERVER_ID"}},
		"the server has another name":      {map[string]any{"header_value": "other"}, a.URL, "vault.example.com", nil, 0, []string{"is not the server's iam_server_id_header_value"}},
		"the clock is wrong":               {nil, a.URL, "", nil, 16 * time.Minute, []string{"the clock here"}},
		"the clock is wrong the other way": {nil, a.URL, "", nil, -16 * time.Minute, []string{"the clock here"}},
		"the secret is wrong":              {nil, a.URL, "", func(k *awstest.Keys) { k.Secret += "x" }, 0, []string{"if they agree, the secret key is wrong"}},
		"the session token is missing":     {nil, a.URL, "", func(k *awstest.Keys) { k.Token = "" }, 0, []string{"without their session token"}},
	} {
		t.Run(name, func(t *testing.T) {
			a.Skew(tc.skew)
			defer a.Skew(0)
			keys := a.Function
			if tc.change != nil {
				tc.change(&keys)
			}
			s := serve(t, tc.sts)
			s.id = tc.id
			err := try(t, a, s, FromLambda, "aws", keys.Environ(), iamBlock(tc.block)).no(append(tc.words, "aws at auth/aws: ")...)
			if !errors.Is(err, vault.ErrBadRequest) {
				t.Errorf("the kind is lost: %v", err)
			}
		})
	}
}

func TestTroubleBetweenServerAndSTSPasses(t *testing.T) {
	a := awstest.Start(t)
	for name, tc := range map[string]struct {
		sts   string
		fault awstest.Fault
		kind  error
	}{
		"throttled":    {a.URL, awstest.Fault{Status: 400, Code: "Throttling", Message: "Rate exceeded"}, vault.ErrRateLimited},
		"failing":      {a.URL, awstest.Fault{Status: 503, Code: "ServiceUnavailable"}, vault.ErrServer},
		"out of reach": {"http://127.0.0.1:1", awstest.Fault{}, vault.ErrServer},
	} {
		s := serve(t, tc.sts)
		if tc.fault.Status != 0 {
			a.Fail("GetCallerIdentity", tc.fault)
		}
		err := try(t, a, s, FromLambda, "aws", a.User.Environ(), iamBlock(nil)).no("that went wrong there")
		if !errors.Is(err, tc.kind) || !vault.Temporary(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheServersNameIsPartOfTheSignature(t *testing.T) {
	a := awstest.Start(t)
	s := serve(t, a.URL)
	s.id = "vault.example.com"
	try(t, a, s, FromLambda, "aws", a.Function.Environ(), iamBlock(map[string]any{"header_value": "vault.example.com"})).ok()
}

func assumeBlock(more map[string]any) map[string]any {
	b := iamBlock(map[string]any{
		"assume_role_arn": awstest.RoleARN, "assume_role_external_id": awstest.ExternalID,
		"assume_role_tags": map[string]any{"team": "payments", "stage": "prod & more"},
	})
	for k, v := range more {
		b[k] = v
	}
	return b
}

func TestARoleIsTakenOnOnceAndKeptUntilItsEnd(t *testing.T) {
	a := awstest.Start(t)
	s := serve(t, a.URL)
	b := try(t, a, s, FromLambda, "aws", a.User.Environ(), assumeBlock(map[string]any{
		"assume_role_sts_endpoint": a.STS("eu-central-1"), "assume_role_duration": "2h", "assume_role_session_name": "me@here",
	}))
	// The region of an endpoint that is asked is that of the place.
	b.no("valid region")
	b = try(t, a, s, FromLambda, "aws", append(a.User.Environ(), "AWS_REGION=eu-central-1"), assumeBlock(map[string]any{
		"assume_role_sts_endpoint": a.STS("eu-central-1"), "assume_role_duration": "2h", "assume_role_session_name": "me@here",
	}))
	before := a.Calls("AssumeRole")
	for range 3 {
		b.ok()
	}
	if n := a.Calls("AssumeRole") - before; n != 1 {
		t.Errorf("the role was taken on %d times", n)
	}
	if want := "arn:aws:sts::" + awstest.Account + ":assumed-role/vault-reader/me@here"; s.who() != want {
		t.Errorf("%s logged in", s.who())
	}
	// Keys that are refused are not kept.
	s.fails = func() (int, any) { return 403, map[string]any{"errors": []string{"permission denied"}} }
	b.no("403")
	s.fails = nil
	b.ok()
	if n := a.Calls("AssumeRole") - before; n != 2 {
		t.Errorf("the role was taken on %d times", n)
	}
	// A server that fails has nothing to do with them.
	s.fails = func() (int, any) { return 503, map[string]any{"errors": []string{"Vault is sealed"}} }
	b.no("503")
	s.fails = nil
	b.ok()
	if n := a.Calls("AssumeRole") - before; n != 2 {
		t.Errorf("the role was taken on %d times", n)
	}
}

func TestARoleThatMayNotBeTakenOnIsExplained(t *testing.T) {
	a := awstest.Start(t)
	s := serve(t, a.URL)
	env := append(a.User.Environ(), "AWS_ENDPOINT_URL_STS="+a.URL)
	for name, tc := range map[string]struct {
		block map[string]any
		words []string
		last  bool
	}{
		"another external id": {assumeBlock(map[string]any{"assume_role_external_id": "wrong-canary"}), []string{"assume " + awstest.RoleARN, "403 AccessDenied", "external id"}, true},
		"no tags":             {iamBlock(map[string]any{"assume_role_arn": awstest.RoleARN, "assume_role_external_id": awstest.ExternalID}), []string{"TagSession", "these tags"}, true},
		"too long":            {assumeBlock(map[string]any{"assume_role_duration": "3h"}), []string{"ValidationError", "MaxSessionDuration"}, true},
		"nobody there":        {assumeBlock(map[string]any{"assume_role_sts_endpoint": "http://127.0.0.1:1"}), []string{"sts:AssumeRole at http://127.0.0.1:1", "from within a VPC"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := try(t, a, s, FromLambda, "aws", env, tc.block).no(append(tc.words, "aws at auth/aws: ")...)
			if !errors.Is(err, auth.ErrCredentials) || retry.IsPermanent(err) != tc.last {
				t.Errorf("kind: %v, permanent: %v", err, retry.IsPermanent(err))
			}
		})
	}
	t.Run("throttled", func(t *testing.T) {
		a.Fail("AssumeRole", awstest.Fault{Status: 400, Code: "Throttling", Message: "Rate exceeded", RetryAfter: "7"})
		err := try(t, a, s, FromLambda, "aws", env, assumeBlock(nil)).no("Throttling")
		var after interface{ RetryAfter() time.Duration }
		if retry.IsPermanent(err) || !errors.As(err, &after) || after.RetryAfter() != 7*time.Second {
			t.Errorf("%v", err)
		}
	})
}

func TestWhatASTSRepeatsOfARequestIsNotTold(t *testing.T) {
	a := awstest.Start(t)
	s := serve(t, a.URL)
	for _, action := range []string{"AssumeRole", "GetCallerIdentity"} {
		a.Fail(action, awstest.Fault{Status: 403, Code: "SignatureDoesNotMatch", Message: "x-amz-security-token:" + a.Function.Token + " secret " + a.Function.Secret})
	}
	env := append(a.Function.Environ(), "AWS_ENDPOINT_URL_STS="+a.URL)
	try(t, a, s, FromLambda, "aws", env, assumeBlock(nil)).no("[redacted]")
	try(t, a, s, FromLambda, "aws", env, iamBlock(nil)).no("[redacted]")
}

func TestAnInstanceLogsInWithItsDocument(t *testing.T) {
	a := awstest.Start(t)
	s := serve(t, a.URL)
	block := map[string]any{"type": "ec2", "role": "web"}
	b := try(t, a, s, FromLambda, "aws", a.InstanceEnviron(), block)
	b.ok()
	nonce, _ := s.last["nonce"].(string)
	if identity, _ := s.last["identity"].(string); len(identity) < 100 || len(nonce) < 20 || strings.Contains(s.last["signature"].(string), "\n") {
		t.Errorf("sent %v", s.last)
	}
	b.ok()
	if s.last["nonce"] != nonce {
		t.Error("the nonce changed within a run")
	}
	s.fails = func() (int, any) {
		return 400, map[string]any{"errors": []string{"client nonce mismatch"}}
	}
	try(t, a, s, FromLambda, "aws", a.InstanceEnviron(), block).no("set nonce")
	s.fails = nil
	block["nonce"] = "mine"
	try(t, a, s, FromLambda, "aws", a.InstanceEnviron(), block).ok()
	if s.last["nonce"] != "mine" {
		t.Errorf("nonce %v", s.last["nonce"])
	}
	try(t, a, s, FromLambda, "aws", []string{"AWS_EC2_METADATA_DISABLED=true"}, block).no("turned off")
	a.Fail("imds", awstest.Fault{Status: http.StatusServiceUnavailable})
	try(t, a, s, FromLambda, "aws", a.InstanceEnviron(), block).no("instance metadata at", "503")
}

// A check that logged in with a nonce of its own would shut the instance out.
func TestACheckSpendsNoNonce(t *testing.T) {
	a := awstest.Start(t)
	s := serve(t, a.URL)
	for _, nonce := range []string{"", "mine"} {
		block := map[string]any{"type": "ec2", "role": "web"}
		if nonce != "" {
			block["nonce"] = nonce
		}
		m, err := New(Settings{Environ: environ(a.InstanceEnviron()...)})(auth.Options{Mount: "auth/aws", Config: config.NewBlock("aws", block), Preserve: true})
		if err != nil {
			t.Fatal(err)
		}
		c, err := vault.New(vault.Config{Address: s.url})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err = m.Login(t.Context(), c); errors.Is(err, auth.ErrWouldSpend) != (nonce == "") {
			t.Errorf("nonce %q: %v", nonce, err)
		}
	}
	if len(s.paths) != 1 {
		t.Errorf("the server saw %v", s.paths)
	}
}

func TestABlockThatCannotBeMeantIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		typ   string
		block map[string]any
		key   string
	}{
		"no type":               {"aws", map[string]any{"role": "r"}, "type"},
		"another type":          {"aws", map[string]any{"type": "sts", "role": "r"}, "type"},
		"no role":               {"aws", map[string]any{"type": "iam"}, "role"},
		"half a pair":           {"aws", iamBlock(map[string]any{"access_key": "a"}), "secret_key"},
		"the other half":        {"aws", iamBlock(map[string]any{"secret_key": "canary"}), "access_key"},
		"a token alone":         {"aws", iamBlock(map[string]any{"session_token": "canary"}), "session_token"},
		"nonce for iam":         {"aws", iamBlock(map[string]any{"nonce": "n"}), "nonce"},
		"keys for ec2":          {"aws", map[string]any{"type": "ec2", "role": "r", "access_key": "a"}, "access_key"},
		"a role for ec2":        {"aws", map[string]any{"type": "ec2", "role": "r", "assume_role_arn": "a"}, "assume_role_arn"},
		"no URL":                {"aws", iamBlock(map[string]any{"sts_endpoint": "sts.amazonaws.com"}), "sts_endpoint"},
		"a line break":          {"aws", iamBlock(map[string]any{"header_value": "a\nb"}), "header_value"},
		"no ARN":                {"aws", iamBlock(map[string]any{"assume_role_arn": "vault-reader"}), "assume_role_arn"},
		"an ARN of a user":      {"aws", iamBlock(map[string]any{"assume_role_arn": "arn:aws:iam::1:user/x"}), "assume_role_arn"},
		"too short":             {"aws", assumeBlock(map[string]any{"assume_role_duration": "14m"}), "assume_role_duration"},
		"too long":              {"aws", assumeBlock(map[string]any{"assume_role_duration": "13h"}), "assume_role_duration"},
		"no name":               {"aws", assumeBlock(map[string]any{"assume_role_session_name": "a b"}), "assume_role_session_name"},
		"an external id alone":  {"aws", iamBlock(map[string]any{"assume_role_external_id": "x"}), "assume_role_external_id"},
		"tags alone":            {"aws", iamBlock(map[string]any{"assume_role_tags": map[string]any{"a": "b"}}), "assume_role_tags"},
		"a negative interval":   {"aws", iamBlock(map[string]any{"credential_poll_interval": "-1s"}), "credential_poll_interval"},
		"no audience":           {"aws_web_identity", map[string]any{"role": "r"}, "audience"},
		"another algorithm":     {"aws_web_identity", map[string]any{"audience": "a", "signing_algorithm": "HS256"}, "signing_algorithm"},
		"a JWT for a day":       {"aws_web_identity", map[string]any{"audience": "a", "duration": "24h"}, "duration"},
		"a JWT for a second":    {"aws_web_identity", map[string]any{"audience": "a", "duration": "1s"}, "duration"},
		"half a pair, for JWTs": {"aws_web_identity", map[string]any{"audience": "a", "access_key": "a"}, "secret_key"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Settings{Environ: environ()}
			s.Credentials = FromLambda(s)
			build := New(s)
			if tc.typ == "aws_web_identity" {
				build = WebIdentity(s)
			}
			_, err := build(auth.Options{Mount: "auth/x", Config: config.NewBlock(tc.typ, tc.block)})
			var p *config.Problem
			if !errors.As(err, &p) || !strings.HasSuffix(p.Key, "."+tc.key) || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestNewKeysAreFreshOnce(t *testing.T) {
	a := awstest.Start(t)
	s := serve(t, a.URL)
	keys := &atomicKeys{}
	keys.set(a.User)
	from := func(Settings) Credentials { return keys }
	b := try(t, a, s, from, "aws", nil, iamBlock(nil))
	w := b.m.(auth.Watcher)
	if w.Every() != time.Minute {
		t.Errorf("looks every %s", w.Every())
	}
	b.ok()
	is := func(want bool, when string) {
		t.Helper()
		for range 2 {
			if w.Fresh() != want {
				t.Errorf("%s: fresh is %v", when, !want)
			}
		}
	}
	is(false, "without a change")
	keys.set(a.Function)
	is(true, "after a change")
	b.ok()
	is(false, "after the login that used them")
	keys.set(awstest.Keys{})
	is(false, "with no keys at all")
	written := iamBlock(map[string]any{"access_key": a.User.ID, "secret_key": a.User.Secret})
	b = try(t, a, s, from, "aws", nil, written)
	if b.ok(); b.m.(auth.Watcher).Every() != 0 {
		t.Error("keys that are written down are watched")
	}
}
