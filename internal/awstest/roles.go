package awstest

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
)

func (a *AWS) assumeRole(q question) (string, *complaint) {
	arn := q.form.Get("RoleArn")
	role, known := a.roles[arn]
	session, no := sessionName(q)
	if no != nil {
		return "", no
	}
	tags, no := tagsOf(q)
	if no != nil {
		return "", no
	}
	no = deny("AccessDenied", "User: "+q.from.ARN+" is not authorized to perform: sts:AssumeRole on resource: "+arn)
	switch {
	case !known || role.ExternalID != "" && q.form.Get("ExternalId") != role.ExternalID:
		return "", no
	case !maps.Equal(tags, role.Tags) && len(tags)+len(role.Tags) > 0:
		return "", deny("AccessDenied", "User: "+q.from.ARN+" is not authorized to perform: sts:TagSession on resource: "+arn)
	}
	limit := role.Max
	if limit == 0 || strings.Contains(q.from.ARN, ":assumed-role/") {
		limit = time.Hour // a role that takes on another gets no more
	}
	life, no := duration(q, 15*time.Minute, limit, time.Hour)
	if no != nil {
		return "", no
	}
	return a.takeOn(arn, session, life), nil
}

// assumeWithToken is for a pod, which shows the token of its service account.
func (a *AWS) assumeWithToken(q question) (string, *complaint) {
	arn := q.form.Get("RoleArn")
	session, no := sessionName(q)
	if no != nil {
		return "", no
	}
	if _, known := a.roles[arn]; !known {
		return "", deny("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	}
	if q.form.Get("WebIdentityToken") != a.account {
		return "", invalid("InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements")
	}
	life, no := duration(q, 15*time.Minute, 12*time.Hour, time.Hour)
	if no != nil {
		return "", no
	}
	return a.takeOn(arn, session, life), nil
}

func (a *AWS) takeOn(arn, session string, life time.Duration) string {
	name := arn[strings.LastIndex(arn, "/")+1:]
	who := "arn:aws:sts::" + Account + ":assumed-role/" + name + "/" + session
	k := a.issue(who, true, life)
	return credentials(k) + "    <AssumedRoleUser>\n" + tag("AssumedRoleId", userID(k)) + tag("Arn", who) + "    </AssumedRoleUser>\n"
}

func sessionName(q question) (string, *complaint) {
	s := q.form.Get("RoleSessionName")
	if len(s) < 2 || len(s) > 64 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_=,.@-") != "" {
		return "", invalid("ValidationError", "1 validation error detected: Value '"+s+"' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*")
	}
	return s, nil
}

// duration is DurationSeconds within bounds.
func duration(q question, least, most, usual time.Duration) (time.Duration, *complaint) {
	s := q.form.Get("DurationSeconds")
	if s == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(s)
	d := time.Duration(n) * time.Second
	switch {
	case err != nil || d < least:
		return 0, invalid("ValidationError", fmt.Sprintf("1 validation error detected: Value '%s' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to %d", s, int(least.Seconds())))
	case d > most:
		return 0, invalid("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return d, nil
}

// tagsOf are the tags, numbered from 1 without a gap.
func tagsOf(q question) (map[string]string, *complaint) {
	tags := map[string]string{}
	n := 0
	for p := range q.form {
		if strings.HasPrefix(p, "Tags.") {
			n++
		}
	}
	for i := 1; i <= n/2; i++ {
		member := "Tags.member." + strconv.Itoa(i)
		key := q.form.Get(member + ".Key")
		if key == "" || !q.form.Has(member+".Value") || tags[key] != "" {
			return nil, invalid("ValidationError", "the tags are not numbered one by one, or one has no key, or is there twice")
		}
		tags[key] = q.form.Get(member + ".Value")
	}
	if n%2 != 0 {
		return nil, invalid("ValidationError", "a tag without its value")
	}
	return tags, nil
}
