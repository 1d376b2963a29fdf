package vaulttest

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
)

// certAuth is auth/cert: the certificate of the TLS connection is the login.
type certAuth struct{ certs map[string]*certRole }

type certRole struct {
	pool  *x509.CertPool
	names []string
	token tokenParams
}

func newCertAuth() *certAuth { return &certAuth{map[string]*certRole{}} }

func (*certAuth) open() []string { return []string{"login"} }

func (c *certAuth) serve(r *request) (*response, error) {
	return routes{
		{"login", map[operation]handler{opUpdate: c.login}},
		{"certs/{name}", map[operation]handler{opUpdate: c.write, opDelete: func(r *request) (*response, error) {
			delete(c.certs, r.params["name"])
			return nil, nil
		}}},
	}.serve(r)
}

func (c *certAuth) write(r *request) (*response, error) {
	role := &certRole{pool: x509.NewCertPool(), names: r.strs("allowed_common_names")}
	block, _ := pem.Decode([]byte(r.str("certificate")))
	if block == nil || !role.pool.AppendCertsFromPEM([]byte(r.str("certificate"))) {
		return nil, badRequest("failed to parse certificate")
	}
	var err error
	if role.token, err = r.tokenParams(tokenParams{}); err != nil {
		return nil, err
	}
	c.certs[r.params["name"]] = role
	return nil, nil
}

func (c *certAuth) login(r *request) (*response, error) {
	cert, err := r.peer()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.certs)) {
		role := c.certs[name]
		if want := r.str("name"); want != "" && want != name || !role.takes(cert) {
			continue
		}
		return r.login(role.token, cert.Subject.CommonName, r.displayName(cert.Subject.CommonName), map[string]string{
			"cert_name": name, "common_name": cert.Subject.CommonName, "serial_number": cert.SerialNumber.String(),
			"subject_key_id": colons(cert.SubjectKeyId), "authority_key_id": colons(cert.AuthorityKeyId),
		}, c.again(name, role.token.policies))
	}
	return nil, errNoMatch
}

var errNoMatch = badRequest("failed to match all constraints for this login certificate")

// again asks for a certificate at a renewal too: any that the role takes.
func (c *certAuth) again(name string, then []string) renewal {
	return func(r *request) (*tokenParams, error) {
		cert, err := r.peer()
		if err != nil {
			return nil, err
		}
		role := c.certs[name]
		if role == nil || !role.takes(cert) {
			return nil, errNoMatch
		}
		return role.token.samePolicies(then)
	}
}

// peer is the client's certificate.
func (r *request) peer() (*x509.Certificate, error) {
	if r.http.TLS == nil || len(r.http.TLS.PeerCertificates) == 0 {
		return nil, badRequest("client certificate must be supplied")
	}
	return r.http.TLS.PeerCertificates[0], nil
}

func (role *certRole) takes(cert *x509.Certificate) bool {
	_, err := cert.Verify(x509.VerifyOptions{Roots: role.pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil && (len(role.names) == 0 || slices.Contains(role.names, cert.Subject.CommonName))
}

func colons(id []byte) string {
	parts := make([]string, len(id))
	for i, b := range id {
		parts[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(parts, ":")
}
