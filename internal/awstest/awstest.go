// Package awstest is an AWS to test against: STS, the metadata services that hand
// out keys, the portal of single sign-on, and an issuer of JWTs, on one listener.
//
// It is strict where AWS is. Signatures are verified by making them again with the
// SDK's own signer, over the headers that were said to be signed and no others; the
// scope has to be that of the endpoint, the time within fifteen minutes. A parameter
// that an action does not have is refused, so that a misspelt one is not passed over.
// Wrong things are answered with AWS's codes, statuses and form.
//
// The keys it knows hold the word canary, for tests that look for them where they
// must not be. It counts what it is asked, and fails on request (Fail).
package awstest

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// TB is what is needed of a testing.TB.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// The world of every AWS of this kind.
const (
	Account = "123456789012"
	// ExternalID has to be named to assume the role RoleARN.
	ExternalID = "external-canary"
	// RoleARN may be assumed by everybody who has keys.
	RoleARN = "arn:aws:iam::" + Account + ":role/vault-reader"
	// InstanceRegion is where the instance of the metadata service stands.
	InstanceRegion = "eu-west-3"
)

// Keys are credentials, and who has them.
type Keys struct {
	ID, Secret, Token string
	ARN               string
	// Expires is zero for never.
	Expires time.Time
}

// Environ is the keys as the variables that the SDK reads.
func (k Keys) Environ() []string {
	env := []string{"AWS_ACCESS_KEY_ID=" + k.ID, "AWS_SECRET_ACCESS_KEY=" + k.Secret}
	if k.Token != "" {
		env = append(env, "AWS_SESSION_TOKEN="+k.Token)
	}
	return env
}

// AWS is one of it. Its methods may be called at any time.
type AWS struct {
	// URL is where everything is: the global STS, the metadata services, the issuer.
	URL string
	// User has keys that last; Function has those of a Lambda function's role.
	User, Function Keys

	tb      TB
	mu      sync.Mutex
	keys    map[string]Keys // by id
	roles   map[string]Role // by ARN
	calls   map[string]int
	faults  map[string][]Fault
	regions map[string]string // region: URL
	skew    time.Duration
	life    time.Duration // of the keys that the metadata services hand out

	instance, container Keys
	sessions            map[string]bool // tokens of the metadata service
	authorization       string          // of the container endpoint
	sso                 string
	account             string // token of a pod's service account
	signers             signers
	federation          bool
}

// Role may be assumed.
type Role struct {
	ARN string
	// ExternalID has to be named, if it is not "".
	ExternalID string
	// Tags have to be given, with these values; others may not.
	Tags map[string]string
	// Max is the longest duration, 0 for an hour.
	Max time.Duration
}

// Fault is an answer in place of the right one.
type Fault struct {
	Status        int
	Code, Message string
	RetryAfter    string
	// Hang keeps the request waiting until whoever asks goes away.
	Hang bool
}

// Start starts one, which ends with the test.
func Start(tb TB) *AWS {
	tb.Helper()
	a := &AWS{
		tb: tb, keys: map[string]Keys{}, roles: map[string]Role{}, calls: map[string]int{}, faults: map[string][]Fault{},
		regions: map[string]string{}, sessions: map[string]bool{}, life: 6 * time.Hour, federation: true,
		authorization: "canary-authorization-" + rand.Text(), sso: "canary-sso-" + rand.Text(), account: "canary-account-" + rand.Text(),
	}
	a.User = a.issue("arn:aws:iam::"+Account+":user/app", false, 0)
	a.Function = a.issue("arn:aws:sts::"+Account+":assumed-role/function-role/my-function", true, 0)
	a.AddRole(Role{ARN: RoleARN, ExternalID: ExternalID, Tags: map[string]string{"team": "payments", "stage": "prod & more"}, Max: 2 * time.Hour})
	a.signers = newSigners(tb)
	a.URL = a.listen("")
	return a
}

// listen starts a listener that plays the STS of a region, the global one for "".
func (a *AWS) listen(region string) string {
	mux := http.NewServeMux()
	mux.HandleFunc("/", a.unknown)
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) { a.serveSTS(w, r, region) })
	if region == "" {
		a.metadata(mux)
		a.issuer(mux)
		mux.HandleFunc("GET /federation/credentials", a.portal)
	}
	// Vault asks for "//", its sts_endpoint and the path that was signed, and STS
	// takes that for "/"; a ServeMux would redirect it.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "//" {
			r.URL.Path = "/"
		}
		mux.ServeHTTP(w, r)
	}))
	a.tb.Cleanup(s.Close)
	return s.URL
}

func (a *AWS) unknown(w http.ResponseWriter, r *http.Request) {
	a.count("unknown " + r.Method + " " + r.URL.Path)
	http.NotFound(w, r)
}

// STS is the address of the STS of a region.
func (a *AWS) STS(region string) string {
	a.mu.Lock()
	url := a.regions[region]
	a.mu.Unlock()
	if url != "" {
		return url
	}
	url = a.listen(region)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.regions[region] = url
	return url
}

// AddRole adds a role, or puts another in its place.
func (a *AWS) AddRole(r Role) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roles[r.ARN] = r
}

// Fail has the next answers to an action be these: the name of one of STS, or
// "imds", "container", "sso".
func (a *AWS) Fail(action string, faults ...Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults[action] = append(a.faults[action], faults...)
}

// Skew sets the clock of this AWS forward, or back.
func (a *AWS) Skew(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.skew = d
}

// Live is how long keys of the metadata services are good for, 6 h at first. Those
// that were handed out before are replaced.
func (a *AWS) Live(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.life, a.instance, a.container = d, Keys{}, Keys{}
}

// Expire ends keys, or session tokens, now.
func (a *AWS) Expire(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.keys[id]
	k.Expires = time.Now().Add(-time.Second)
	a.keys[id] = k
}

// Federate says whether the account has JWTs signed, as it has at first.
func (a *AWS) Federate(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.federation = on
}

// Calls is how often an action was asked for, rightly or not: the name of one of STS,
// or "imds", "container", "sso", "jwks".
func (a *AWS) Calls(action string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[action]
}

// ContainerEnviron is the variables of a container, or of a function under SnapStart.
func (a *AWS) ContainerEnviron() []string {
	return []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + a.URL + "/2021-04-23/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN=" + a.authorization}
}

// InstanceEnviron is the variables that have an instance's metadata be found here.
func (a *AWS) InstanceEnviron() []string {
	return []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + a.URL}
}

// SSOToken is the token of a developer who has logged in.
func (a *AWS) SSOToken() string { return a.sso }

// ServiceAccountToken is the token of a pod, to assume RoleARN with.
func (a *AWS) ServiceAccountToken() string { return a.account }

// Secrets lists everything that must not be told.
func (a *AWS) Secrets() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := []string{a.authorization, a.sso, a.account}
	for _, k := range a.keys {
		if out = append(out, k.Secret); k.Token != "" {
			out = append(out, k.Token)
		}
	}
	for s := range a.sessions {
		out = append(out, s)
	}
	return out
}

// issue makes keys; they end after life, 0 for never.
func (a *AWS) issue(arn string, temporary bool, life time.Duration) Keys {
	k := Keys{ID: "AKIA" + rand.Text()[:16], Secret: "canary/+secret" + rand.Text(), ARN: arn}
	if temporary {
		k.ID = "ASIA" + k.ID[4:]
		k.Token = "canary+token/" + strings.Repeat(rand.Text(), 8) + "=="
	}
	if life > 0 {
		k.Expires = a.now().Add(life).UTC().Truncate(time.Second)
	}
	a.keys[k.ID] = k
	return k
}

func (a *AWS) now() time.Time { return time.Now().Add(a.skew) }

func (a *AWS) count(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls[what]++
}

// fault takes the next fault of an action.
func (a *AWS) fault(action string) (Fault, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.faults[action]
	if len(list) == 0 {
		return Fault{}, false
	}
	a.faults[action] = list[1:]
	return list[0], true
}
