package awstest

import (
	"encoding/xml"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// complaint is an answer that says no.
type complaint struct {
	status        int
	code, message string
}

func deny(code, message string) *complaint { return &complaint{http.StatusForbidden, code, message} }
func invalid(code, message string) *complaint {
	return &complaint{http.StatusBadRequest, code, message}
}

// question is what an action is given.
type question struct {
	form   url.Values
	from   Keys // nobody, for an action that is not signed
	region string
}

// action answers with what is inside of the element ACTIONResult.
type action struct {
	// unsigned is for one that brings its own proof.
	unsigned bool
	params   []string // names, a * for a number
	do       func(*AWS, question) (string, *complaint)
}

var actions = map[string]action{
	"GetCallerIdentity": {do: (*AWS).callerIdentity},
	"AssumeRole":        {params: []string{"RoleArn", "RoleSessionName", "ExternalId", "DurationSeconds", "Tags.member.*.Key", "Tags.member.*.Value"}, do: (*AWS).assumeRole},
	"AssumeRoleWithWebIdentity": {unsigned: true, params: []string{"RoleArn", "RoleSessionName", "DurationSeconds", "WebIdentityToken"},
		do: (*AWS).assumeWithToken},
	"GetWebIdentityToken": {params: []string{"Audience.member.*", "SigningAlgorithm", "DurationSeconds", "Tags.member.*.Key", "Tags.member.*.Value"},
		do: (*AWS).webIdentityToken},
}

func (a *AWS) serveSTS(w http.ResponseWriter, r *http.Request, region string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	result, name, no := a.answer(r, string(body), region)
	a.count(name)
	if f, ok := a.fault(name); ok {
		if f.Hang {
			<-r.Context().Done()
			return
		}
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		no = &complaint{f.Status, f.Code, f.Message}
	}
	const space = ` xmlns="https://sts.amazonaws.com/doc/2011-06-15/"`
	const id = "<RequestId>2f4f7a2e-0b3c-4f55-9a3e-4f0f6d3ab0c1</RequestId>"
	w.Header().Set("Content-Type", "text/xml")
	if no != nil {
		w.WriteHeader(no.status)
		kind := "Sender"
		if no.status >= 500 {
			kind = "Receiver"
		}
		fmt.Fprintf(w, "<ErrorResponse%s>\n  <Error>\n    <Type>%s</Type>\n    <Code>%s</Code>\n    <Message>%s</Message>\n  </Error>\n  %s\n</ErrorResponse>\n", space, kind, escape(no.code), escape(no.message), id)
		return
	}
	fmt.Fprintf(w, "<%[1]sResponse%[2]s>\n  <%[1]sResult>\n%[3]s  </%[1]sResult>\n  <ResponseMetadata>%[4]s</ResponseMetadata>\n</%[1]sResponse>\n", name, space, result, id)
}

// answer also names the action, for messages as asked for.
func (a *AWS) answer(r *http.Request, body, region string) (result, name string, no *complaint) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	form, err := url.ParseQuery(body)
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return "", "", invalid("MalformedInput", "the body is not a form")
	}
	name = form.Get("Action")
	act, ok := actions[name]
	if !ok || form.Get("Version") != "2011-06-15" || region == "" && name == "GetWebIdentityToken" {
		return "", name, invalid("InvalidAction", "Could not find operation "+name+" for version "+form.Get("Version"))
	}
	q := question{form: form, region: region}
	if !act.unsigned {
		if q.from, no = a.caller(r, body, region); no != nil {
			return "", name, no
		}
	}
	for p, v := range form {
		if p != "Action" && p != "Version" && !slices.Contains(act.params, numberless(p)) || len(v) != 1 {
			return "", name, invalid("ValidationError", "unexpected parameter "+p)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	result, no = act.do(a, q)
	return result, name, no
}

// numberless is a parameter's name with * for the number of a member.
func numberless(p string) string {
	parts := strings.Split(p, ".")
	for i := range parts {
		if _, err := strconv.Atoi(parts[i]); err == nil {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, ".")
}

func (a *AWS) callerIdentity(q question) (string, *complaint) {
	return tag("UserId", userID(q.from)) + tag("Account", Account) + tag("Arn", q.from.ARN), nil
}

// userID is the unique id of a user, or of a role and its session.
func userID(k Keys) string {
	parts := strings.Split(k.ARN, "/")
	if len(parts) == 3 {
		return "AROAEXAMPLE" + strings.ToUpper(strings.ReplaceAll(parts[1], "-", "")) + ":" + parts[2]
	}
	return "AIDAEXAMPLE" + strings.ToUpper(parts[1])
}

func tag(name, value string) string {
	return "    <" + name + ">" + escape(value) + "</" + name + ">\n"
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// credentials is keys as STS writes them.
func credentials(k Keys) string {
	return "    <Credentials>\n" + tag("AccessKeyId", k.ID) + tag("SecretAccessKey", k.Secret) + tag("SessionToken", k.Token) +
		tag("Expiration", k.Expires.Format(time.RFC3339)) + "    </Credentials>\n"
}
