package vaulttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
)

// Signer signs JSON Web Tokens with a key of its own.
type Signer struct {
	alg string
	key crypto.Signer
	// PEM is the public key.
	PEM string
}

// NewSigner makes a signer for RS256 or ES256.
func NewSigner(tb TB, alg string) *Signer {
	tb.Helper()
	var key crypto.Signer
	var err error
	if alg == "RS256" {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		tb.Fatalf("key: %v", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		tb.Fatalf("public key: %v", err)
	}
	return &Signer{alg, key, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
}

// Sign returns a compact token with these claims.
func (s *Signer) Sign(tb TB, claims Map) string {
	tb.Helper()
	head, _ := json.Marshal(Map{"alg": s.alg, "typ": "JWT"})
	body, err := json.Marshal(claims)
	if err != nil {
		tb.Fatalf("claims: %v", err)
	}
	signed := encode(head) + "." + encode(body)
	sum := sha256.Sum256([]byte(signed))
	var sig []byte
	switch key := s.key.(type) {
	case *rsa.PrivateKey:
		sig, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		r, t, e := ecdsa.Sign(rand.Reader, key, sum[:])
		err = e
		if e == nil {
			sig = append(r.FillBytes(make([]byte, 32)), t.FillBytes(make([]byte, 32))...)
		}
	}
	if err != nil {
		tb.Fatalf("signature: %v", err)
	}
	return strings.Join([]string{signed, encode(sig)}, ".")
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
