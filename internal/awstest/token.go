package awstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// signers are the keys of the account's issuer.
type signers struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
}

func newSigners(tb TB) signers {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatalf("key: %v", err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		tb.Fatalf("key: %v", err)
	}
	return signers{r, e}
}

var b64 = base64.RawURLEncoding

// sign is a compact token.
func (s signers) sign(alg string, claims map[string]any) (string, error) {
	head, _ := json.Marshal(map[string]string{"alg": alg, "typ": "JWT", "kid": alg})
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := b64.EncodeToString(head) + "." + b64.EncodeToString(body)
	var signature []byte
	if alg == "RS256" {
		sum := sha256.Sum256([]byte(text))
		signature, err = rsa.SignPKCS1v15(rand.Reader, s.rsa, crypto.SHA256, sum[:])
	} else {
		sum := sha512.Sum384([]byte(text))
		var x, y *big.Int
		if x, y, err = ecdsa.Sign(rand.Reader, s.ec, sum[:]); err == nil {
			signature = append(x.FillBytes(make([]byte, 48)), y.FillBytes(make([]byte, 48))...)
		}
	}
	return text + "." + b64.EncodeToString(signature), err
}

// webIdentityToken signs a JWT about who asks.
func (a *AWS) webIdentityToken(q question) (string, *complaint) {
	if !a.federation {
		return "", deny("OutboundWebIdentityFederationDisabledException", "Outbound web identity federation is not enabled for this account.")
	}
	var audience []string
	for i := 1; q.form.Has("Audience.member." + strconv.Itoa(i)); i++ {
		audience = append(audience, q.form.Get("Audience.member."+strconv.Itoa(i)))
	}
	alg := q.form.Get("SigningAlgorithm")
	if len(audience) == 0 || audience[0] == "" || alg != "RS256" && alg != "ES384" {
		return "", invalid("ValidationError", "Audience and SigningAlgorithm (RS256, ES384) are required")
	}
	life, no := duration(q, time.Minute, time.Hour, 5*time.Minute)
	if no != nil {
		return "", no
	}
	tags, no := tagsOf(q)
	if no != nil {
		return "", no
	}
	now := a.now()
	about := map[string]any{"aws_account": Account, "source_region": q.region, "principal_id": principal(q.from.ARN)}
	if len(tags) > 0 {
		about["request_tags"] = tags
	}
	jwt, err := a.signers.sign(alg, map[string]any{
		"iss": a.URL, "sub": principal(q.from.ARN), "aud": audience, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(life).Unix(),
		"jti": rand.Text(), "https://sts.amazonaws.com/": about,
	})
	if err != nil {
		return "", &complaint{500, "InternalFailure", "cannot sign"}
	}
	return tag("WebIdentityToken", jwt) + tag("Expiration", now.Add(life).UTC().Format(time.RFC3339)), nil
}

// principal is the role behind a session.
func principal(arn string) string {
	parts := strings.Split(arn, "/")
	if len(parts) == 3 && strings.Contains(arn, ":assumed-role/") {
		return "arn:aws:iam::" + Account + ":role/" + parts[1]
	}
	return arn
}

// issuer serves what a server needs to trust the account's JWTs.
func (a *AWS) issuer(mux *http.ServeMux) {
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{
			"issuer": a.URL, "jwks_uri": a.URL + "/.well-known/jwks.json", "response_types_supported": []string{"id_token"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256", "ES384"},
		})
	})
	mux.HandleFunc("GET /.well-known/jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		a.count("jwks")
		r, e := a.signers.rsa.PublicKey, a.signers.ec.PublicKey
		point, err := e.Bytes()
		if err != nil {
			http.Error(w, "no key", http.StatusInternalServerError)
			return
		}
		writeJSON(w, map[string]any{"keys": []map[string]string{
			{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "RS256", "n": b64.EncodeToString(r.N.Bytes()), "e": b64.EncodeToString(big.NewInt(int64(r.E)).Bytes())},
			{"kty": "EC", "use": "sig", "alg": "ES384", "kid": "ES384", "crv": "P-384", "x": b64.EncodeToString(point[1:49]), "y": b64.EncodeToString(point[49:])},
		}})
	})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
