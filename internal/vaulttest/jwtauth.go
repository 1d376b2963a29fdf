package vaulttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// jwtAuth is auth/jwt with public keys in its configuration, RS256 and ES256.
type jwtAuth struct {
	keys   []crypto.PublicKey
	issuer string
	roles  map[string]*jwtRole
}

type jwtRole struct {
	userClaim, subject string
	audiences          []string
	mappings           map[string]string
	token              tokenParams
}

func newJWTAuth() *jwtAuth { return &jwtAuth{roles: map[string]*jwtRole{}} }

func (*jwtAuth) open() []string { return []string{"login"} }

func (j *jwtAuth) serve(r *request) (*response, error) {
	return routes{
		{"login", map[operation]handler{opUpdate: j.login}},
		{"config", map[operation]handler{opUpdate: j.config}},
		{"role/{role}", map[operation]handler{opUpdate: j.writeRole, opDelete: j.deleteRole}},
	}.serve(r)
}

func (j *jwtAuth) config(r *request) (*response, error) {
	j.issuer, j.keys = r.str("bound_issuer"), nil
	for _, text := range r.strs("jwt_validation_pubkeys") {
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			return nil, badRequest("error parsing public key: data does not contain any valid public keys")
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, badRequest("error parsing public key: %v", err)
		}
		j.keys = append(j.keys, key)
	}
	return nil, nil
}

func (j *jwtAuth) writeRole(r *request) (*response, error) {
	role := &jwtRole{
		userClaim: r.str("user_claim"), subject: r.str("bound_subject"), audiences: r.strs("bound_audiences"),
		mappings: r.texts("claim_mappings"),
	}
	if role.userClaim == "" {
		return nil, badRequest("a user claim must be defined on the role")
	}
	var err error
	if role.token, err = r.tokenParams(tokenParams{}); err != nil {
		return nil, err
	}
	j.roles[r.params["role"]] = role
	return nil, nil
}

func (j *jwtAuth) deleteRole(r *request) (*response, error) {
	delete(j.roles, r.params["role"])
	return nil, nil
}

func (j *jwtAuth) login(r *request) (*response, error) {
	if j.keys == nil {
		return nil, badRequest("could not load configuration")
	}
	name, jwt := r.str("role"), strings.TrimSpace(r.str("jwt"))
	if name == "" {
		return nil, badRequest("missing role")
	}
	role := j.roles[name]
	switch {
	case role == nil:
		return nil, badRequest("role %q could not be found", name)
	case jwt == "":
		return nil, badRequest("missing token")
	}
	claims, err := verify(jwt, j.keys)
	if err == nil {
		err = j.check(role, claims, r.now)
	}
	if err != nil {
		return nil, badRequest("error validating token: %v", err)
	}
	user, isText := claims[role.userClaim].(string)
	if !isText {
		return nil, badRequest("claim %q not found in token", role.userClaim)
	}
	meta := map[string]string{"role": name}
	for claim, key := range role.mappings {
		if v := claims[claim]; v != nil {
			meta[key] = fmt.Sprint(v)
		}
	}
	again := func(*request) (*tokenParams, error) {
		if now := j.roles[name]; now != nil {
			return &now.token, nil
		}
		return nil, notRenewed("role " + name + " does not exist during renewal")
	}
	return r.login(role.token, user, r.displayName(user), meta, again)
}

// skew is how far the clocks may differ; leeway is how long a token is good
// for whose claims do not say both its beginning and its end.
const (
	skew   = 60 * time.Second
	leeway = 150 * time.Second
)

func (j *jwtAuth) check(role *jwtRole, claims Map, now time.Time) error {
	from, until, err := lifetime(claims)
	switch {
	case err != nil:
		return err
	case role.subject != "" && claims["sub"] != role.subject:
		return errors.New("invalid subject (sub) claim")
	case j.issuer != "" && claims["iss"] != j.issuer:
		return errors.New("invalid issuer (iss) claim")
	case len(role.audiences) > 0 && !overlap(role.audiences, audiences(claims["aud"])):
		return errors.New("invalid audience (aud) claim: audience claim does not match any expected audience")
	case now.Add(skew).Before(from):
		return errors.New("invalid not before (nbf) claim: token not yet valid")
	case now.Add(-skew).After(until):
		return errors.New("invalid expiration time (exp) claim: token is expired")
	}
	return nil
}

// lifetime is when a token is good, as the server completes it: one that says
// only when it ends is good for the last moments before, not from now on.
func lifetime(claims Map) (from, until time.Time, err error) {
	at := func(name string) time.Time {
		n, isNumber := claims[name].(json.Number)
		if !isNumber {
			return time.Time{}
		}
		f, _ := n.Float64()
		return time.Unix(int64(f), 0)
	}
	iat, nbf, exp := at("iat"), at("nbf"), at("exp")
	from, until = nbf, exp
	if iat.IsZero() && nbf.IsZero() && exp.IsZero() {
		return from, until, errors.New("no issued at (iat), not before (nbf), or expiration time (exp) claims in token")
	}
	if exp.IsZero() {
		until = iat
		if nbf.After(iat) {
			until = nbf
		}
		until = until.Add(leeway)
	}
	if nbf.IsZero() {
		from = iat
		if iat.IsZero() {
			from = until.Add(-leeway)
		}
	}
	return from, until, nil
}

func audiences(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, fmt.Sprint(e))
		}
		return out
	}
	return nil
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// verify checks the signature against each key and returns the claims.
func verify(jwt string, keys []crypto.PublicKey) (Map, error) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return nil, errors.New("error verifying token signature: go-jose/go-jose: compact JWS format must have three parts")
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, fmt.Errorf("error verifying token signature: %w", err)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !slices.ContainsFunc(keys, func(k crypto.PublicKey) bool { return signed(k, sum[:], sig) }) {
		return nil, errors.New("error verifying token signature: no known key successfully validated the token signature")
	}
	claims, err := unverified(jwt)
	if err != nil {
		return nil, err
	}
	if v, there := claims["aud"]; there && v == nil {
		return nil, errors.New("go-jose/go-jose/jwt: expected string or array value to unmarshal to Audience")
	}
	return claims, nil
}

// unverified returns the claims of a compact token, its signature unseen.
func unverified(jwt string) (Map, error) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return nil, errors.New("not a JWT")
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	var claims Map
	err = dec.Decode(&claims)
	return claims, err
}

func signed(key crypto.PublicKey, sum, sig []byte) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, sum, sig) == nil
	case *ecdsa.PublicKey:
		if len(sig) != 64 {
			return false
		}
		return ecdsa.Verify(k, sum, new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	}
	return false
}
