package aws

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
)

// assumed is the keys of a role that other keys may take on.
type assumed struct {
	from     Credentials
	at       endpoint
	http     *http.Client
	arn      string
	external cred.Redacted
	session  string
	duration time.Duration // 0: as AWS has it
	tags     map[string]string
}

// sessionName is what vault-lambda-extension calls its sessions.
const sessionName = "vault_auth"

// Retrieve implements Credentials.
func (a *assumed) Retrieve(ctx context.Context) (sdk.Credentials, error) {
	keys, err := a.from.Retrieve(ctx)
	if err != nil {
		return sdk.Credentials{}, err
	}
	form := url.Values{"RoleArn": {a.arn}, "RoleSessionName": {a.session}}
	if !a.external.Empty() {
		form.Set("ExternalId", a.external.Reveal())
	}
	if a.duration > 0 {
		form.Set("DurationSeconds", seconds(a.duration))
	}
	tagged(form, a.tags)
	result, err := a.at.call(ctx, a.http, &keys, "AssumeRole", form, a.external)
	if err != nil {
		forget(a.from)
		return sdk.Credentials{}, fmt.Errorf("assume %s: %w", a.arn, err)
	}
	return temporary(result, "sts:AssumeRole")
}

// Forget implements forgetter.
func (a *assumed) Forget() { forget(a.from) }

// Region implements locator.
func (a *assumed) Region(ctx context.Context) (string, error) { return regionOf(ctx, a.from) }

// tagged adds tags to a form, in the order of their keys.
func tagged(form url.Values, tags map[string]string) {
	for i, k := range slices.Sorted(maps.Keys(tags)) {
		member := "Tags.member." + strconv.Itoa(i+1)
		form.Set(member+".Key", k)
		form.Set(member+".Value", tags[k])
	}
}

// assumeKeys are the keys of a block about a role to take on.
type assumeKeys struct {
	arn, external, session, endpoint string
	duration                         time.Duration
	tags                             map[string]string
}

// over lays the role over keys, if the block names one.
func (k assumeKeys) over(from Credentials, s Settings, o auth.Options, region string) (Credentials, error) {
	const prefix = "assume_role_"
	if k.arn == "" {
		for _, key := range []string{"external_id", "session_name", "duration", "tags", "sts_endpoint"} {
			if o.Config.Has(prefix+key) && (key != "session_name" || k.session != sessionName) {
				return nil, o.Config.Problem(prefix+key, "has no effect without assume_role_arn", "name the role to assume, or leave this out")
			}
		}
		return from, nil
	}
	if parts := strings.SplitN(k.arn, ":", 6); len(parts) < 6 || parts[0] != "arn" || parts[2] != "iam" || !strings.HasPrefix(parts[5], "role/") {
		return nil, o.Config.Problem(prefix+"arn", "is not the ARN of a role", "such as arn:aws:iam::123456789012:role/NAME")
	}
	if k.duration != 0 && (k.duration < 15*time.Minute || k.duration > 12*time.Hour) {
		return nil, o.Config.Problem(prefix+"duration", "is out of bounds", "15m to 12h, and no longer than the role allows")
	}
	if len(k.tags) > 50 {
		return nil, o.Config.Problem(prefix+"tags", "are more than AWS takes", "at most 50")
	}
	if !named(k.session) {
		return nil, o.Config.Problem(prefix+"session_name", "is not a name for a session", "2 to 64 letters, digits and =,.@-_")
	}
	return keep(&assumed{
		from: from, at: s.endpoint(k.endpoint, region), http: s.http(), arn: k.arn,
		external: cred.Redact(k.external), session: k.session, duration: k.duration, tags: k.tags,
	}), nil
}

// named says whether AWS takes a name for a session.
func named(s string) bool {
	if len(s) < 2 || len(s) > 64 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("=,.@-_", r)
	}) < 0
}
