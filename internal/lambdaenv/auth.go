package lambdaenv

import (
	"encoding/json"
	"strings"
)

const (
	authPrefix   = "LATCHKEY_AUTH_"
	assumePrefix = "LATCHKEY_ASSUME_ROLE_"
)

// login is what the environment says of the auth method: a method block, as a file
// has it, and by which variables it says so.
type login struct {
	// said is whether any variable speaks of the login at all.
	said   bool
	method map[string]any
	config map[string]any
	// by are the variables of the keys that are set, by dotted path below the
	// method: "mount_path", "config.role".
	by map[string]string
}

// authVariables are those of vault-lambda-extension, and the keys that they set.
var authVariables = []struct{ name, key string }{
	{"VAULT_AUTH_ROLE", "role"},
	{"VAULT_IAM_SERVER_ID", "header_value"},
	{"VAULT_ASSUMED_ROLE_ARN", "assume_role_arn"},
	{"VAULT_STS_ENDPOINT_REGION", "region"},
}

// ofMethod are the keys that stand in the method's block and not in its config.
var ofMethod = []string{"namespace", "mount_path", "min_backoff", "max_backoff"}

// login reads the variables of the login.
func (r *reader) login() login {
	l := login{method: map[string]any{}, config: map[string]any{}, by: map[string]string{}}
	typ := "aws"
	if v := r.env["LATCHKEY_AUTH_METHOD"]; v != "" {
		typ, l.said, l.by["type"] = strings.ToLower(v), true, "LATCHKEY_AUTH_METHOD"
	}
	l.method["type"] = typ
	if v := r.env["VAULT_AUTH_PROVIDER"]; v != "" {
		l.said = true
		mount := strings.TrimPrefix(strings.Trim(v, "/"), "auth/")
		if mount == "" {
			r.refuse("VAULT_AUTH_PROVIDER", "is no path of an auth method", "for example aws")
		}
		r.say(&l, "mount_path", "VAULT_AUTH_PROVIDER", "auth/"+mount)
	}
	for _, a := range authVariables {
		if v := r.env[a.name]; v != "" {
			l.said = true
			r.say(&l, "config."+keyOf(a.key, typ), a.name, v)
		}
	}
	for _, name := range r.order {
		if key, ok := strings.CutPrefix(name, authPrefix); ok && name != "LATCHKEY_AUTH_METHOD" {
			l.said = true
			r.sayKey(&l, strings.ToLower(key), name)
		}
		if key, ok := strings.CutPrefix(name, assumePrefix); ok {
			l.said = true
			r.sayKey(&l, "assume_role_"+strings.ToLower(key), name)
		}
	}
	r.amazon(&l, typ)
	l.keep()
	l.method["config"] = l.config
	return l
}

// keyOf is what a method calls the role that it logs in to.
func keyOf(key, typ string) string {
	if key == "role" && typ == "cert" {
		return "name"
	}
	return key
}

// sayKey sets a key of the method or of its config from a variable.
func (r *reader) sayKey(l *login, key, name string) {
	value := r.env[name]
	for _, k := range ofMethod {
		if k == key {
			if k == "mount_path" {
				value = strings.Trim(value, "/")
			}
			r.say(l, k, name, value)
			return
		}
	}
	if key != "tags" && !strings.HasSuffix(key, "_tags") {
		r.say(l, "config."+key, name, value)
		return
	}
	tags, ok := pairs(value)
	if !ok {
		r.refuse(name, "must be name=value, with commas between them, or a JSON object of strings", "for example team=blue,stage=test")
	}
	r.say(l, "config."+key, name, tags)
}

// say sets a key, once.
func (r *reader) say(l *login, path, name string, value any) {
	if other, twice := l.by[path]; twice {
		if text, ok := value.(string); !ok || text != l.at(path) {
			r.refuse(name, "is not what "+other+" says", "leave one of the two out")
		}
		return
	}
	l.by[path] = name
	if key, ok := strings.CutPrefix(path, "config."); ok {
		l.config[key] = value
		return
	}
	l.method[path] = value
}

func (l *login) at(path string) any {
	if key, ok := strings.CutPrefix(path, "config."); ok {
		return l.config[key]
	}
	return l.method[path]
}

// amazon adds what vault-lambda-extension takes as said for its one method.
func (r *reader) amazon(l *login, typ string) {
	if typ != "aws" {
		return
	}
	if _, ok := l.config["type"]; !ok {
		l.config["type"] = "iam"
	}
	region := r.env["AWS_REGION"]
	if _, ok := l.config["region"]; !ok && region != "" && strings.EqualFold(r.env["AWS_STS_REGIONAL_ENDPOINTS"], "regional") {
		l.config["region"], l.by["config.region"] = region, "AWS_REGION"
	}
}

// keep leaves files of credentials where they are, unless told otherwise: the platform
// starts us again in the same place after a failure of the function, and a file of the
// function's code cannot be removed. A wrapped one is good once, and no use to anybody.
func (l *login) keep() {
	file, remove := "", ""
	switch l.method["type"] {
	case "approle":
		file, remove = "secret_id_file_path", "remove_secret_id_file_after_reading"
	case "jwt":
		file, remove = "path", "remove_jwt_after_reading"
	}
	_, said := l.config[remove]
	_, wrapped := l.config["secret_id_response_wrapping_path"]
	if l.by["config."+file] != "" && !said && !wrapped {
		l.config[remove] = "false"
	}
}

// complete refuses what is missing, once it is known that nobody else says it.
func (l *login) complete(refuse func(name, text, hint string)) {
	if l.by["mount_path"] == "" && l.by["type"] == "" {
		refuse("VAULT_AUTH_PROVIDER", "is required", "where the AWS auth method is mounted, such as aws; another method needs LATCHKEY_AUTH_METHOD")
	}
	switch l.method["type"] {
	case "aws", "jwt":
		if l.by["config.role"] == "" {
			refuse("VAULT_AUTH_ROLE", "is required", "the role of the auth method to log in to")
		}
	}
}

// called is what the user calls a key of the method, by the path below it.
func (l *login) called(path string) string {
	if name := l.by[path]; name != "" {
		return name
	}
	if path == "type" {
		return "LATCHKEY_AUTH_METHOD"
	}
	if path == "mount_path" {
		return "VAULT_AUTH_PROVIDER"
	}
	key, inConfig := strings.CutPrefix(path, "config.")
	if inConfig {
		for _, a := range authVariables {
			if keyOf(a.key, l.method["type"].(string)) == key {
				return a.name
			}
		}
	}
	if strings.ContainsAny(key, ".[") || key == "config" {
		return ""
	}
	return authPrefix + strings.ToUpper(key)
}

// pairs reads name=value,name=value, or a JSON object.
func pairs(s string) (map[string]any, bool) {
	out := map[string]any{}
	if strings.HasPrefix(s, "{") {
		var m map[string]string
		if json.Unmarshal([]byte(s), &m) != nil {
			return nil, false
		}
		for k, v := range m {
			out[k] = v
		}
		return out, true
	}
	for _, p := range list(s) {
		name, value, ok := strings.Cut(p, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, false
		}
		if _, twice := out[name]; twice {
			return nil, false
		}
		out[name] = strings.TrimSpace(value)
	}
	return out, true
}
