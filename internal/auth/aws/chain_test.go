package aws

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdkconfig "github.com/aws/aws-sdk-go-v2/config"

	"latchkey/internal/awstest"
)

// place is a machine: its home directory and its variables.
type place struct {
	config, credentials string
	env                 []string
}

// in lays the place out, for the SDK too, which reads the real environment.
func (p place) in(t *testing.T) Settings {
	t.Helper()
	home := t.TempDir()
	for name, content := range map[string]string{"config": p.config, "credentials": p.credentials} {
		if content != "" {
			write(t, filepath.Join(home, ".aws", name), content)
		}
	}
	for _, e := range os.Environ() {
		if k, _, _ := strings.Cut(e, "="); strings.HasPrefix(k, "AWS_") {
			t.Setenv(k, "")
		}
	}
	env := append([]string{
		"HOME=" + home, "AWS_CONFIG_FILE=" + filepath.Join(home, ".aws", "config"), "AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(home, ".aws", "credentials"),
	}, p.env...)
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	return Settings{Environ: environ(env...)}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func sha(s string) string { sum := sha1.Sum([]byte(s)); return hex.EncodeToString(sum[:]) }

// Whoever has used the SDK, or the command line, expects the same keys here.
func TestTheChainFindsWhatTheSDKFinds(t *testing.T) {
	a := awstest.Start(t)
	a.AddRole(awstest.Role{ARN: "arn:aws:iam::1:role/plain"})
	a.AddRole(awstest.Role{ARN: "arn:aws:iam::1:role/guarded", ExternalID: "external-canary"})
	keys := func(k awstest.Keys) string {
		s := fmt.Sprintf("aws_access_key_id = %s\naws_secret_access_key=%s\n", k.ID, k.Secret)
		if k.Token != "" {
			s += "aws_session_token = " + k.Token + "\n"
		}
		return s
	}
	sts := []string{"AWS_ENDPOINT_URL_STS=" + a.URL, "AWS_REGION=us-east-1"}
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, a.ServiceAccountToken())
	authorization := filepath.Join(t.TempDir(), "authorization")
	write(t, authorization, strings.TrimPrefix(a.ContainerEnviron()[1], "AWS_CONTAINER_AUTHORIZATION_TOKEN="))
	pod := []string{"AWS_WEB_IDENTITY_TOKEN_FILE=" + token, "AWS_ROLE_ARN=arn:aws:iam::1:role/plain", "AWS_ROLE_SESSION_NAME=pod"}
	login := func(home, key string, left time.Duration) {
		write(t, filepath.Join(home, ".aws", "sso", "cache", sha(key)+".json"),
			fmt.Sprintf(`{"accessToken":%q,"expiresAt":%q}`, a.SSOToken(), time.Now().Add(left).UTC().Format(time.RFC3339)))
	}
	const sso = "[profile dev]\nsso_session = corp\nsso_account_id = " + awstest.Account + "\nsso_role_name = Reader\n[sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.example.com/start\nsso_registration_scopes = sso:account:access\n"
	for name, tc := range map[string]struct {
		place
		// arn is who the keys say they are, "" for none at all.
		arn     string
		prepare func(home string)
	}{
		"nothing":                          {place: place{env: []string{"AWS_EC2_METADATA_DISABLED=true"}}},
		"variables":                        {place: place{env: a.Function.Environ()}, arn: a.Function.ARN},
		"half of the variables":            {place: place{env: []string{"AWS_ACCESS_KEY_ID=x", "AWS_EC2_METADATA_DISABLED=true"}}},
		"variables before a profile":       {place: place{credentials: "[default]\n" + keys(a.User), env: a.Function.Environ()}, arn: a.Function.ARN},
		"variables before a named profile": {place: place{credentials: "[x]\n" + keys(a.User), env: append(a.Function.Environ(), "AWS_PROFILE=x")}, arn: a.Function.ARN},
		"variables before a pod's role":    {place: place{env: append(append(pod, sts...), a.Function.Environ()...)}, arn: a.Function.ARN},
		"the default profile":              {place: place{credentials: "# mine\n[default]\n" + keys(a.User)}, arn: a.User.ARN},
		"the default profile in the other": {place: place{config: "[default]\n" + keys(a.User)}, arn: a.User.ARN},
		"credentials over config":          {place: place{config: "[default]\n" + keys(a.User), credentials: "[default]\n" + keys(a.Function)}, arn: a.Function.ARN},
		"a named profile":                  {place: place{config: "[default]\nregion=x\n[profile other]\n" + keys(a.User), env: []string{"AWS_PROFILE=other"}}, arn: a.User.ARN},
		"a named profile, older":           {place: place{credentials: "[other]\n" + keys(a.User), env: []string{"AWS_DEFAULT_PROFILE=other"}}, arn: a.User.ARN},
		"a named profile with blanks":      {place: place{config: "[ profile   other ]\n" + keys(a.User), env: []string{"AWS_PROFILE=other"}}, arn: a.User.ARN},
		"without the word profile":         {place: place{config: "[other]\n" + keys(a.User), env: []string{"AWS_PROFILE=other"}}},
		"a profile that is not there":      {place: place{credentials: "[default]\n" + keys(a.User), env: []string{"AWS_PROFILE=other"}}},
		"keys in capitals, and comments":   {place: place{credentials: "[default]\nAWS_ACCESS_KEY_ID = " + a.User.ID + " ; mine\nAws_Secret_Access_Key=" + a.User.Secret + " # hers\n"}, arn: a.User.ARN},
		"nested keys":                      {place: place{config: "[default]\ns3 =\n  aws_access_key_id = nested\n" + keys(a.User)}, arn: a.User.ARN},
		"a role of a profile": {place: place{config: "[profile r]\nrole_arn = arn:aws:iam::1:role/guarded\nexternal_id = external-canary\nsource_profile = base\nrole_session_name = me\n",
			credentials: "[base]\n" + keys(a.User), env: append(sts, "AWS_PROFILE=r")}, arn: "arn:aws:sts::123456789012:assumed-role/guarded/me"},
		"a role of a role": {place: place{config: "[profile r]\nrole_arn = arn:aws:iam::1:role/guarded\nexternal_id = external-canary\nsource_profile = q\nrole_session_name = me\n" +
			"[profile q]\nrole_arn=arn:aws:iam::1:role/plain\nsource_profile=base\nrole_session_name=you\n", credentials: "[base]\n" + keys(a.User), env: append(sts, "AWS_PROFILE=r")},
			arn: "arn:aws:sts::123456789012:assumed-role/guarded/me"},
		"a role of itself": {place: place{config: "[default]\nrole_arn = arn:aws:iam::1:role/plain\nsource_profile = default\nrole_session_name = me\n" + keys(a.User), env: sts},
			arn: "arn:aws:sts::123456789012:assumed-role/plain/me"},
		"a role in a circle": {place: place{config: "[profile r]\nrole_arn = arn:aws:iam::1:role/plain\nsource_profile = q\n[profile q]\nrole_arn=arn:aws:iam::1:role/plain\nsource_profile=r\n", env: append(sts, "AWS_PROFILE=r")}},
		"a role of nobody":   {place: place{config: "[default]\nrole_arn = arn:aws:iam::1:role/plain\nsource_profile = gone\n", env: sts}},
		"a role with keys of its own": {place: place{config: "[default]\nrole_arn = arn:aws:iam::1:role/plain\nrole_session_name = me\ncredential_source = Environment\n",
			env: append(append(sts, "AWS_PROFILE=default"), a.Function.Environ()...)}, arn: a.Function.ARN},
		"a role of an instance": {place: place{config: "[default]\nrole_arn = arn:aws:iam::1:role/plain\nrole_session_name = me\ncredential_source = Ec2InstanceMetadata\n", env: append(sts, a.InstanceEnviron()...)},
			arn: "arn:aws:sts::123456789012:assumed-role/plain/me"},
		"a role of a container": {place: place{config: "[default]\nrole_arn = arn:aws:iam::1:role/plain\nrole_session_name = me\ncredential_source = EcsContainer\n", env: append(sts, a.ContainerEnviron()...)},
			arn: "arn:aws:sts::123456789012:assumed-role/plain/me"},
		"a role of no container": {place: place{config: "[default]\nrole_arn = arn:aws:iam::1:role/plain\ncredential_source = EcsContainer\n", env: sts}},
		"a pod":                  {place: place{env: append(pod, sts...)}, arn: "arn:aws:sts::123456789012:assumed-role/plain/pod"},
		"a pod without a role":   {place: place{env: append(sts, "AWS_WEB_IDENTITY_TOKEN_FILE="+token)}},
		"a pod without its file": {place: place{env: append(append(sts, pod...), "AWS_WEB_IDENTITY_TOKEN_FILE="+token+"x")}},
		"a pod by a profile": {place: place{config: "[default]\nrole_arn = arn:aws:iam::1:role/plain\nrole_session_name = me\nweb_identity_token_file = " + token + "\n", env: sts},
			arn: "arn:aws:sts::123456789012:assumed-role/plain/me"},
		"a container":                  {place: place{env: a.ContainerEnviron()}, arn: "arn:aws:sts::123456789012:assumed-role/function-role/restored"},
		"a container, token in a file": {place: place{env: []string{a.ContainerEnviron()[0], "AWS_CONTAINER_AUTHORIZATION_TOKEN=wrong", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=" + authorization}}, arn: "arn:aws:sts::123456789012:assumed-role/function-role/restored"},
		"a container, wrong token":     {place: place{env: []string{a.ContainerEnviron()[0], "AWS_CONTAINER_AUTHORIZATION_TOKEN=wrong"}}},
		"a container far away":         {place: place{env: []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://192.0.2.1/"}}},
		"a profile before a container": {place: place{credentials: "[default]\n" + keys(a.User), env: a.ContainerEnviron()}, arn: a.User.ARN},
		"an instance":                  {place: place{env: a.InstanceEnviron()}, arn: "arn:aws:sts::123456789012:assumed-role/instance-role/i-0123456789abcdef0"},
		"a container in an instance":   {place: place{env: append(a.InstanceEnviron(), a.ContainerEnviron()...)}, arn: "arn:aws:sts::123456789012:assumed-role/function-role/restored"},
		"a person": {place: place{config: sso, env: []string{"AWS_PROFILE=dev", "AWS_ENDPOINT_URL_SSO=" + a.URL}}, arn: "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Reader/ada",
			prepare: func(home string) { login(home, "corp", time.Hour) }},
		"a person, older": {place: place{config: "[default]\nsso_start_url = https://corp.example.com/start\nsso_region = us-east-1\nsso_account_id = " + awstest.Account + "\nsso_role_name = Reader\n", env: []string{"AWS_ENDPOINT_URL_SSO=" + a.URL}},
			arn: "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Reader/ada", prepare: func(home string) { login(home, "https://corp.example.com/start", time.Hour) }},
		"a person who has not logged in": {place: place{config: sso, env: []string{"AWS_PROFILE=dev", "AWS_ENDPOINT_URL_SSO=" + a.URL}}},
		"a person whose login is over": {place: place{config: sso, env: []string{"AWS_PROFILE=dev", "AWS_ENDPOINT_URL_SSO=" + a.URL}},
			prepare: func(home string) { login(home, "corp", -time.Minute) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := tc.in(t)
			if tc.prepare != nil {
				tc.prepare(s.env("HOME"))
			}
			theirs := ""
			cfg, err := sdkconfig.LoadDefaultConfig(t.Context(), sdkconfig.WithRetryMaxAttempts(1))
			if err == nil {
				keys, e := cfg.Credentials.Retrieve(t.Context())
				if err = e; e == nil {
					theirs = whose(t, a, keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken)
				}
			}
			if theirs != tc.arn {
				t.Fatalf("the SDK finds %q, the table says %q: %v", theirs, tc.arn, err)
			}
			ours := ""
			keys, err := Chain(s).Retrieve(t.Context())
			if err == nil {
				ours = whose(t, a, keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken)
			}
			if ours != theirs {
				t.Errorf("the SDK finds %q, the chain %q: %v", theirs, ours, err)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("a secret is told: %v", err)
			}
		})
	}
}

// whose asks STS.
func whose(t *testing.T, a *awstest.AWS, id, secret, token string) string {
	t.Helper()
	s := serve(t, a.URL)
	block := iamBlock(map[string]any{"access_key": id, "secret_key": secret})
	if token != "" {
		block["session_token"] = token
	}
	try(t, a, s, FromLambda, "aws", nil, block).ok()
	return s.who()
}

func TestTheChainSaysWhatIsMissing(t *testing.T) {
	for name, tc := range map[string]struct {
		place
		words []string
	}{
		"nothing":           {place{env: []string{"AWS_EC2_METADATA_DISABLED=true"}}, []string{"no AWS keys in the environment, in a profile or at a container's endpoint", "AWS_EC2_METADATA_DISABLED"}},
		"no such profile":   {place{env: []string{"AWS_PROFILE=x"}}, []string{`AWS_PROFILE names the profile "x"`, "/.aws/config", "/.aws/credentials"}},
		"a code":            {place{config: "[default]\nrole_arn=arn:aws:iam::1:role/x\nmfa_serial=m\nsource_profile=b\n[profile b]\naws_access_key_id=a\naws_secret_access_key=canary"}, []string{"mfa_serial", "export-credentials"}},
		"another program":   {place{config: "[default]\ncredential_process = /bin/canary"}, []string{"credential_process", "export-credentials"}},
		"no login":          {place{config: "[default]\nsso_start_url=https://x\nsso_region=us-east-1\nsso_account_id=1\nsso_role_name=r"}, []string{"nobody has logged in", "aws sso login --profile default"}},
		"no session":        {place{config: "[default]\nsso_session=corp\nsso_account_id=1\nsso_role_name=r"}, []string{`sso_session names "corp"`}},
		"another source":    {place{config: "[default]\nrole_arn=arn:aws:iam::1:role/x\ncredential_source=Elsewhere"}, []string{"neither Environment nor EcsContainer"}},
		"a far container":   {place{env: []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://192.0.2.1/"}}, []string{"192.0.2.1", "only https"}},
		"a circle":          {place{config: "[default]\nrole_arn=arn:aws:iam::1:role/x\nsource_profile=b\n[profile b]\nrole_arn=arn:aws:iam::1:role/x\nsource_profile=default"}, []string{"circle: default, b, default"}},
		"no role at all":    {place{env: []string{"AWS_WEB_IDENTITY_TOKEN_FILE=/x"}}, []string{"set AWS_ROLE_ARN"}},
		"no token of a pod": {place{env: []string{"AWS_WEB_IDENTITY_TOKEN_FILE=/nowhere/token", "AWS_ROLE_ARN=arn:aws:iam::1:role/x"}}, []string{"web identity token: open /nowhere/token"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Chain(tc.in(t)).Retrieve(t.Context())
			for _, w := range tc.words {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in: %v", w, err)
				}
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("a secret is told: %v", err)
			}
		})
	}
}

func TestTheRegionIsFoundOut(t *testing.T) {
	a := awstest.Start(t)
	for name, tc := range map[string]struct {
		place
		want string
	}{
		"variable":  {place{env: []string{"AWS_REGION=r1", "AWS_DEFAULT_REGION=r2"}}, "r1"},
		"older one": {place{env: []string{"AWS_DEFAULT_REGION=r2"}}, "r2"},
		"profile":   {place{config: "[profile p]\nregion = r3\n", env: []string{"AWS_PROFILE=p"}}, "r3"},
		"instance":  {place{env: a.InstanceEnviron()}, awstest.InstanceRegion},
		"nowhere":   {place{env: []string{"AWS_EC2_METADATA_DISABLED=true"}}, ""},
	} {
		got, err := regionOf(t.Context(), Chain(tc.in(t)))
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestAFileThatChangesIsReadAgain(t *testing.T) {
	s := place{credentials: "[default]\naws_access_key_id=a\naws_secret_access_key=s\n"}.in(t)
	c := Chain(s)
	for _, id := range []string{"a", "b"} {
		write(t, filepath.Join(s.env("HOME"), ".aws", "credentials"), "[default]\naws_access_key_id="+id+"\naws_secret_access_key=s\n")
		if k, err := c.Retrieve(t.Context()); err != nil || k.AccessKeyID != id {
			t.Errorf("%s, %v", k.AccessKeyID, err)
		}
	}
}

// Where the file for credentials has keys, a session token that the other file has is
// no part of them.
func TestASessionTokenBelongsToItsKeys(t *testing.T) {
	s := place{
		config:      "[default]\naws_access_key_id=old\naws_secret_access_key=s\naws_session_token=canary\n",
		credentials: "[default]\naws_access_key_id=new\naws_secret_access_key=s\n",
	}.in(t)
	if k, err := Chain(s).Retrieve(t.Context()); err != nil || k.AccessKeyID != "new" || k.SessionToken != "" {
		t.Errorf("%s, with a token: %v, %v", k.AccessKeyID, k.SessionToken != "", err)
	}
}
