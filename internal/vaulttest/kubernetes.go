package vaulttest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// kubernetesAuth is auth/kubernetes: the cluster is asked about each token, as
// the server asks it, by a TokenReview. See Cluster.
type kubernetesAuth struct {
	host   string
	client *http.Client
	roles  map[string]*kubernetesRole
}

type kubernetesRole struct {
	names, namespaces []string
	token             tokenParams
}

func newKubernetes() *kubernetesAuth {
	return &kubernetesAuth{roles: map[string]*kubernetesRole{}}
}

func (*kubernetesAuth) open() []string { return []string{"login"} }

func (k *kubernetesAuth) serve(r *request) (*response, error) {
	return routes{
		{"login", map[operation]handler{opUpdate: k.login}},
		{"config", map[operation]handler{opUpdate: k.config}},
		{"role/{role}", map[operation]handler{opUpdate: k.writeRole, opDelete: k.deleteRole}},
	}.serve(r)
}

func (k *kubernetesAuth) config(r *request) (*response, error) {
	if r.str("kubernetes_host") == "" {
		return nil, badRequest("no host provided")
	}
	pool := x509.NewCertPool()
	if pem := r.str("kubernetes_ca_cert"); pem != "" && !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, badRequest("one of pem_keys or kubernetes_ca_cert must be set")
	}
	k.host = r.str("kubernetes_host")
	k.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
	return nil, nil
}

func (k *kubernetesAuth) writeRole(r *request) (*response, error) {
	role := &kubernetesRole{names: r.strs("bound_service_account_names"), namespaces: r.strs("bound_service_account_namespaces")}
	if len(role.names) == 0 {
		return nil, badRequest("%q can not be empty", "bound_service_account_names")
	}
	if len(role.namespaces) == 0 {
		return nil, badRequest("\"bound_service_account_namespaces\" can not be empty if \"bound_service_account_namespace_selector\" is not set")
	}
	var err error
	if role.token, err = r.tokenParams(tokenParams{}); err != nil {
		return nil, err
	}
	k.roles[r.params["role"]] = role
	return &response{warnings: []string{"Role " + r.params["role"] + " does not have an audience configured. While audiences are not required, consider specifying one if your use case would benefit from additional JWT claim verification."}}, nil
}

func (k *kubernetesAuth) deleteRole(r *request) (*response, error) {
	delete(k.roles, r.params["role"])
	return nil, nil
}

func (k *kubernetesAuth) login(r *request) (*response, error) {
	name, jwt := r.str("role"), r.str("jwt")
	if name == "" {
		return nil, badRequest("missing role")
	}
	if jwt == "" {
		return nil, badRequest("missing jwt")
	}
	role := k.roles[name]
	if role == nil {
		return nil, badRequest("invalid role name %q", name)
	}
	claims, err := unverified(jwt)
	if err != nil {
		return nil, failure(http.StatusForbidden, "permission denied")
	}
	at := func(keys ...string) string {
		var v any = claims
		for _, key := range keys {
			m, _ := v.(map[string]any)
			v = m[key]
		}
		text, _ := v.(string)
		return text
	}
	namespace, account := at("kubernetes.io", "namespace"), at("kubernetes.io", "serviceaccount", "name")
	uid := at("kubernetes.io", "serviceaccount", "uid")
	allows := func(list []string, v string) bool { return slices.Contains(list, v) || slices.Contains(list, "*") }
	switch {
	case !allows(role.namespaces, namespace):
		return nil, failure(http.StatusForbidden, "namespace not authorized")
	case !allows(role.names, account):
		return nil, failure(http.StatusForbidden, "service account name not authorized")
	case k.client == nil || !k.review(r, jwt, namespace, account):
		return nil, failure(http.StatusForbidden, "permission denied")
	}
	again := func(*request) (*tokenParams, error) {
		if now := k.roles[name]; now != nil {
			return &now.token, nil
		}
		return nil, notRenewed("role " + name + " does not exist during renewal")
	}
	return r.login(role.token, uid, r.displayName(namespace, account), map[string]string{
		"role": name, "service_account_name": account, "service_account_namespace": namespace,
		"service_account_secret_name": "", "service_account_uid": uid,
	}, again)
}

// review asks the cluster whether it knows the token as this account's.
func (k *kubernetesAuth) review(r *request, jwt, namespace, account string) bool {
	body, err := json.Marshal(Map{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": Map{"token": jwt},
	})
	if err != nil {
		return false
	}
	req, err := http.NewRequestWithContext(r.http.Context(), http.MethodPost, k.host+"/apis/authentication.k8s.io/v1/tokenreviews", bytes.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+jwt)
	resp, err := k.client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var review struct {
		Status struct {
			Authenticated bool `json:"authenticated"`
			User          struct {
				Username string `json:"username"`
			} `json:"user"`
		} `json:"status"`
	}
	err = json.NewDecoder(resp.Body).Decode(&review)
	return err == nil && review.Status.Authenticated &&
		review.Status.User.Username == "system:serviceaccount:"+namespace+":"+account
}
