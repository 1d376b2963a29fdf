package awstest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// instanceRole is what the instance may be.
const instanceRole = "instance-role"

// metadata serves the metadata service of instances, in its second version, and the
// endpoint for the keys of containers.
func (a *AWS) metadata(mux *http.ServeMux) {
	mux.HandleFunc("PUT /latest/api/token", a.openSession)
	mux.HandleFunc("GET /latest/", a.inSession)
	mux.HandleFunc("GET /2021-04-23/credentials", a.containerKeys)
}

func (a *AWS) openSession(w http.ResponseWriter, r *http.Request) {
	ttl, err := strconv.Atoi(r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds"))
	switch {
	case r.Header.Get("X-Forwarded-For") != "":
		http.Error(w, "", http.StatusForbidden)
		return
	case err != nil || ttl < 1 || ttl > 21600:
		http.Error(w, "", http.StatusBadRequest)
		return
	}
	token := "canary-session-" + rand.Text()
	a.mu.Lock()
	a.sessions[token] = true
	a.mu.Unlock()
	w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", strconv.Itoa(ttl))
	_, _ = w.Write([]byte(token))
}

func (a *AWS) inSession(w http.ResponseWriter, r *http.Request) {
	a.count("imds")
	if a.failed(w, r, "imds") {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.sessions[r.Header.Get("X-Aws-Ec2-Metadata-Token")] {
		http.Error(w, "", http.StatusUnauthorized)
		return
	}
	const keys = "/latest/meta-data/iam/security-credentials/"
	switch r.URL.Path {
	case keys:
		_, _ = w.Write([]byte(instanceRole))
	case keys + instanceRole:
		a.instance = a.fresh(a.instance, "arn:aws:sts::"+Account+":assumed-role/"+instanceRole+"/i-0123456789abcdef0")
		writeJSON(w, a.json(a.instance, true))
	case "/latest/meta-data/placement/region":
		_, _ = w.Write([]byte(InstanceRegion))
	case "/latest/dynamic/instance-identity/document":
		_, _ = w.Write(a.document())
	case "/latest/dynamic/instance-identity/signature":
		sum := sha256.Sum256(a.document())
		s := base64.StdEncoding.EncodeToString(append(sum[:], sum[:]...))
		_, _ = w.Write([]byte(s[:64] + "\n" + s[64:]))
	default:
		http.NotFound(w, r)
	}
}

func (a *AWS) document() []byte {
	doc, _ := json.MarshalIndent(map[string]any{
		"accountId": Account, "region": InstanceRegion, "instanceId": "i-0123456789abcdef0", "instanceType": "t3.micro",
		"imageId": "ami-0123456789abcdef0", "pendingTime": "2026-01-02T03:04:05Z", "version": "2017-09-30",
	}, "", "  ")
	return doc
}

// fresh is k, or others when it has little time left.
func (a *AWS) fresh(k Keys, arn string) Keys {
	if k.ID == "" || a.now().After(k.Expires.Add(-a.life/10)) {
		return a.issue(arn, true, a.life)
	}
	return k
}

// json is keys as the metadata services write them.
func (a *AWS) json(k Keys, instance bool) map[string]any {
	out := map[string]any{"AccessKeyId": k.ID, "SecretAccessKey": k.Secret, "Token": k.Token, "Expiration": k.Expires.Format(time.RFC3339)}
	if instance {
		out["Code"], out["Type"], out["LastUpdated"] = "Success", "AWS-HMAC", a.now().UTC().Format(time.RFC3339)
	} else {
		out["RoleArn"] = principal(k.ARN)
	}
	return out
}

func (a *AWS) containerKeys(w http.ResponseWriter, r *http.Request) {
	a.count("container")
	if a.failed(w, r, "container") {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Header.Get("Authorization") != a.authorization {
		w.WriteHeader(http.StatusUnauthorized)
		writeJSON(w, map[string]string{"code": "AccessDeniedException", "message": "the authorization token is not right"})
		return
	}
	a.container = a.fresh(a.container, "arn:aws:sts::"+Account+":assumed-role/function-role/restored")
	writeJSON(w, a.json(a.container, false))
}

// portal gives a developer who has logged in the keys of a role.
func (a *AWS) portal(w http.ResponseWriter, r *http.Request) {
	a.count("sso")
	if a.failed(w, r, "sso") {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	q := r.URL.Query()
	if r.Header.Get("X-Amz-Sso_bearer_token") != a.sso {
		w.Header().Set("X-Amzn-Errortype", "UnauthorizedException")
		w.WriteHeader(http.StatusUnauthorized)
		writeJSON(w, map[string]string{"message": "Session token not found or invalid", "__type": "com.amazonaws.switchboard.portal#UnauthorizedException"})
		return
	}
	if q.Get("account_id") != Account || q.Get("role_name") == "" || len(q) != 2 {
		w.Header().Set("X-Amzn-Errortype", "ForbiddenException")
		w.WriteHeader(http.StatusForbidden)
		writeJSON(w, map[string]string{"message": "No access"})
		return
	}
	k := a.issue("arn:aws:sts::"+Account+":assumed-role/AWSReservedSSO_"+strings.ReplaceAll(q.Get("role_name"), "/", "_")+"/ada", true, time.Hour)
	writeJSON(w, map[string]any{"roleCredentials": map[string]any{
		"accessKeyId": k.ID, "secretAccessKey": k.Secret, "sessionToken": k.Token, "expiration": k.Expires.UnixMilli(),
	}})
}

// failed answers with the next fault, if there is one.
func (a *AWS) failed(w http.ResponseWriter, r *http.Request, action string) bool {
	f, ok := a.fault(action)
	switch {
	case !ok:
		return false
	case f.Hang:
		<-r.Context().Done()
	default:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		w.WriteHeader(f.Status)
		writeJSON(w, map[string]string{"code": f.Code, "message": f.Message})
	}
	return true
}
