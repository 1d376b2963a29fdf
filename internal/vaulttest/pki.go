package vaulttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// pki issues real certificates with EC keys, whatever kind a role names.
type pki struct {
	ca    *x509.Certificate
	key   *ecdsa.PrivateKey
	caPEM string
	roles map[string]*pkiRole
}

type pkiRole struct {
	domains                   []string
	subdomains, bare, anyName bool
	generateLease             bool
	ttl, max                  time.Duration
}

func newPKI() *pki { return &pki{roles: map[string]*pkiRole{}} }

func (*pki) open() []string { return []string{"cert/*", "ca/pem"} }

func (p *pki) serve(r *request) (*response, error) {
	return routes{
		{"root/generate/internal", map[operation]handler{opUpdate: p.generate}},
		{"roles/{role}", map[operation]handler{opUpdate: p.writeRole}},
		{"issue/{role}", map[operation]handler{opUpdate: p.issue}},
		{"cert/ca", map[operation]handler{opRead: p.readCA}},
		{"ca/pem", map[operation]handler{opRead: func(*request) (*response, error) {
			return &response{plain: strings.TrimSpace(p.caPEM), kind: "application/pem-certificate-chain"}, nil
		}}},
	}.serve(r)
}

func (p *pki) generate(r *request) (*response, error) {
	ttl, err := r.duration("ttl")
	if err != nil {
		return nil, badRequest("%v", err)
	}
	if ttl == 0 {
		ttl = maxTTL
	}
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: r.str("common_name")}, NotAfter: r.now.Add(ttl),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, key, err := p.sign(tmpl, r.now)
	if err != nil {
		return nil, err
	}
	if p.ca, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	p.key, p.caPEM = key, string(pemBlock("CERTIFICATE", der))
	return ok(Map{
		"certificate": strings.TrimSpace(p.caPEM), "issuing_ca": strings.TrimSpace(p.caPEM), "expiration": tmpl.NotAfter.Unix(),
		"serial_number": serialText(p.ca.SerialNumber),
	})
}

// sign signs with the CA's key, or with the certificate's own while there is
// no CA.
func (p *pki) sign(tmpl *x509.Certificate, now time.Time) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	tmpl.SerialNumber, tmpl.NotBefore = serial(), now.Add(-30*time.Second)
	parent, by := tmpl, key
	if p.ca != nil {
		parent, by = p.ca, p.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), by)
	return der, key, err
}

func (p *pki) readCA(*request) (*response, error) {
	if p.ca == nil {
		return nil, badRequest("no default issuer currently configured")
	}
	return ok(Map{"certificate": strings.TrimSpace(p.caPEM), "revocation_time": 0, "revocation_time_rfc3339": ""})
}

func (p *pki) writeRole(r *request) (*response, error) {
	role := &pkiRole{
		domains: r.strs("allowed_domains"), subdomains: r.boolean("allow_subdomains", false),
		bare: r.boolean("allow_bare_domains", false), anyName: r.boolean("allow_any_name", false),
		generateLease: r.boolean("generate_lease", false),
	}
	var err error
	if role.ttl, err = r.duration("ttl"); err != nil {
		return nil, badRequest("%v", err)
	}
	if role.max, err = r.duration("max_ttl"); err != nil {
		return nil, badRequest("%v", err)
	}
	p.roles[r.params["role"]] = role
	data := Map{
		"allow_any_name": role.anyName, "allow_bare_domains": role.bare, "allow_subdomains": role.subdomains,
		"allowed_domains": role.domains, "ttl": seconds(role.ttl), "max_ttl": seconds(role.max), "generate_lease": role.generateLease,
		"key_type": r.str("key_type"), "key_bits": r.integer("key_bits"), "issuer_ref": "default", "not_after": "",
		"not_before_duration": 30, "signature_bits": 0, "serial_number_source": "json-csr",
		"key_usage": []string{"DigitalSignature", "KeyAgreement", "KeyEncipherment"}, "cn_validations": []string{"email", "hostname"},
	}
	for _, no := range []string{
		"allow_glob_domains", "allow_token_displayname", "allowed_domains_template", "allowed_uri_sans_template",
		"basic_constraints_valid_for_non_ca", "code_signing_flag", "email_protection_flag", "no_store", "use_pss",
	} {
		data[no] = false
	}
	for _, yes := range []string{
		"allow_ip_sans", "allow_localhost", "allow_wildcard_certificates", "client_flag", "enforce_hostnames", "require_cn",
		"server_flag", "use_csr_common_name", "use_csr_sans",
	} {
		data[yes] = true
	}
	for _, none := range []string{
		"allowed_other_sans", "allowed_serial_numbers", "allowed_uri_sans", "allowed_user_ids", "country", "ext_key_usage",
		"ext_key_usage_oids", "locality", "organization", "ou", "policy_identifiers", "postal_code", "province", "street_address",
	} {
		data[none] = []string{}
	}
	return ok(data)
}

func (p *pki) issue(r *request) (*response, error) {
	role := p.roles[r.params["role"]]
	if role == nil {
		return nil, badRequest("unknown role: %s", r.params["role"])
	}
	if p.ca == nil {
		return nil, badRequest("no default issuer currently configured")
	}
	cn := r.str("common_name")
	if cn == "" {
		return nil, badRequest("the common_name field is required, or must be provided in a CSR with \"use_csr_common_name\" set to true, unless \"require_cn\" is set to false")
	}
	if !role.allows(cn) {
		return nil, badRequest("common name %s not allowed by this role", cn)
	}
	names := []string{cn}
	for _, n := range r.strs("alt_names") {
		if !role.allows(n) {
			return nil, badRequest("subject alternate name %s not allowed by this role", n)
		}
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	var ips []net.IP
	for _, text := range r.strs("ip_sans") {
		ips = append(ips, net.ParseIP(text))
	}
	ttl, warnings, err := role.life(r)
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: cn}, DNSNames: names, IPAddresses: ips, NotAfter: r.now.Add(ttl),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	return p.issued(r, role, tmpl, ttl, warnings)
}

func (p *pki) issued(r *request, role *pkiRole, tmpl *x509.Certificate, ttl time.Duration, warnings []string) (*response, error) {
	der, key, err := p.sign(tmpl, r.now)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	trim := func(kind string, der []byte) string { return strings.TrimSpace(string(pemBlock(kind, der))) }
	ca := strings.TrimSpace(p.caPEM)
	resp := &response{warnings: warnings, data: Map{
		"certificate": trim("CERTIFICATE", der), "issuing_ca": ca, "ca_chain": []string{ca},
		"private_key": trim("EC PRIVATE KEY", keyDER), "private_key_type": "ec",
		"serial_number": serialText(tmpl.SerialNumber), "expiration": tmpl.NotAfter.Unix(),
	}}
	if role.generateLease {
		if resp.lease, err = r.newLease(ttl); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// life is how long a certificate may be good for.
func (role *pkiRole) life(r *request) (time.Duration, []string, error) {
	ttl, err := r.duration("ttl")
	if err != nil {
		return 0, nil, badRequest("%v", err)
	}
	if ttl == 0 {
		ttl = role.ttl
	}
	limit := role.max
	if limit == 0 {
		limit = maxTTL
	}
	if ttl == 0 {
		ttl = limit
	}
	if ttl <= limit {
		return ttl, nil, nil
	}
	warning := "TTL \"" + ttl.String() + "\" is longer than permitted maxTTL \"" + limit.String() + "\", so maxTTL is being used"
	return limit, []string{warning, warning}, nil
}

func (role *pkiRole) allows(name string) bool {
	if role.anyName || name == "localhost" {
		return true
	}
	for _, d := range role.domains {
		if role.bare && name == d || role.subdomains && strings.HasSuffix(name, "."+d) {
			return true
		}
	}
	return false
}

func serialText(n *big.Int) string { return colons(n.Bytes()) }
