package template

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	dep "github.com/hashicorp/consul-template/dependency"

	"latchkey/internal/cred"
)

// certificate is what pkiCert hands out, or why it cannot.
type certificate struct {
	pem dep.PemEncoded
	err error
}

// pkiCert "path" "k=v"... returns a certificate with its key and CA. The one in
// the template's own files serves until it is nearly spent; only then is a new
// one issued. Templates that name the same path and values share one, so that
// a certificate and its key may be written by two templates.
func (p *pass) pkiCert(args ...string) (any, error) {
	if len(args) == 0 {
		return nil, nil
	}
	u, err := url.Parse(strings.Trim(strings.TrimSpace(args[0]), "/"))
	if err != nil {
		return nil, fmt.Errorf("path of a certificate: %w", err)
	}
	req, err := writeRequest(u.Path, args[1:])
	if err != nil {
		return nil, err
	}
	key := req.Key()
	c, ok := p.job.own[key]
	if !ok {
		c, ok = p.run.certs[key]
	}
	switch {
	case !ok:
		p.missing = true
		if !slices.ContainsFunc(p.job.pki, func(r Request) bool { return r.Key() == key }) {
			p.job.pki = append(p.job.pki, req)
		}
		return nil, nil
	case c.err != nil:
		p.job.fail(nil, fmt.Errorf("%s: %w", describe(req), c.err))
		return nil, nil
	}
	p.note(c.pem.Key)
	return c.pem, nil
}

// findCertificates grants what wishes for certificates the files can. Where
// each template has its own, each keeps it; where one has only a part, all
// that ask for the same put their files together; else a new one is issued.
func (u *run) findCertificates(jobs []*job) {
	askers := map[string][]*job{}
	wanted := map[string]Request{}
	for _, j := range jobs {
		for _, req := range j.pki {
			key := req.Key()
			askers[key] = append(askers[key], j)
			wanted[key] = req
		}
	}
	for _, key := range slices.Sorted(maps.Keys(askers)) {
		if !u.reuse(key, wanted[key], askers[key]) {
			continue
		}
		for _, j := range askers[key] {
			j.pki = slices.DeleteFunc(j.pki, func(r Request) bool { return r.Key() == key })
		}
	}
}

func (u *run) reuse(key string, req Request, askers []*job) bool {
	now := time.Now()
	found := make([]dep.PemEncoded, len(askers))
	each := true
	for i := range askers {
		var ok bool
		found[i], ok = u.findIn(req, askers[i:i+1], now)
		each = each && ok
	}
	if each {
		for i, j := range askers {
			if j.own == nil {
				j.own = map[string]certificate{}
			}
			j.own[key] = certificate{pem: found[i]}
		}
		return true
	}
	if len(askers) == 1 {
		return false
	}
	together, ok := u.findIn(req, askers, now)
	if ok {
		u.certs[key] = certificate{pem: together}
	}
	return ok
}

// findIn looks for a certificate with all the parts that the texts of the jobs
// mention, in their destinations and the files of their writeToFile calls.
func (u *run) findIn(req Request, jobs []*job, now time.Time) (dep.PemEncoded, bool) {
	var s pemScan
	needKey, needCA, alone := false, false, true
	for _, j := range jobs {
		for _, path := range append([]string{j.t.spec.Destination}, j.t.text.targets...) {
			if b, err := os.ReadFile(path); err == nil {
				s.scan(string(b))
			}
		}
		f := j.t.text.fields
		needKey = needKey || f["Key"]
		needCA = needCA || f["CA"] || f["CAChain"]
		alone = alone && len(j.pki) == 1 && j.t.text.pkiCerts == 1
	}
	cert, ok := s.pick(req, alone)
	if !ok || spent(cert.cert, now, u.set.opts.RenewThreshold) {
		return dep.PemEncoded{}, false
	}
	out := s.bundle(cert)
	if needKey && out.Key == "" || needCA && out.CA == "" {
		return dep.PemEncoded{}, false
	}
	return out, true
}

// spent reports whether the share threshold of the life has gone by, give or
// take 0.03 so that machines set up together do not renew together.
func spent(c *x509.Certificate, now time.Time, threshold float64) bool {
	life := c.NotAfter.Sub(c.NotBefore)
	share := threshold + (rand.Float64()-0.5)*0.06
	if share <= 0 || share >= 1 {
		share = threshold
	}
	return !now.Before(c.NotBefore.Add(time.Duration(float64(life) * share)))
}

// issued turns the answer to a request into a certificate, once.
func (u *run) issued(req Request) error {
	key := req.Key()
	if c, ok := u.certs[key]; ok {
		return c.err
	}
	res := u.answers[key]
	c := certificate{err: res.Err}
	if c.err == nil {
		c.pem, c.err = fromAnswer(res.Secret)
	}
	u.certs[key] = c
	return c.err
}

func fromAnswer(s *cred.Secret) (dep.PemEncoded, error) {
	var scan pemScan
	names := slices.Sorted(maps.Keys(s.Data))
	// The issuing CA is the CA; what else there is makes the chain.
	first := []string{"certificate", "private_key", "issuing_ca", "ca_chain"}
	names = append(first, slices.DeleteFunc(names, func(n string) bool { return slices.Contains(first, n) })...)
	for _, name := range names {
		switch v := s.Data[name].(type) {
		case string:
			scan.scan(v)
		case []any:
			for _, e := range v {
				if text, ok := e.(string); ok && name == "ca_chain" {
					scan.scan(text)
				}
			}
		}
	}
	if len(scan.certs) == 0 {
		return dep.PemEncoded{}, errors.New("the answer holds no certificate")
	}
	out := scan.bundle(scan.certs[len(scan.certs)-1])
	if out.Key == "" && len(scan.keys) > 0 {
		// A kind of key that is not known here; the server should know.
		out.Key = scan.keys[len(scan.keys)-1].text
	}
	return out, nil
}

// pemScan collects the PEM blocks of a text, whatever stands between them.
type pemScan struct {
	certs []pemCert
	cas   []string
	keys  []pemKey
}

type pemCert struct {
	text string
	cert *x509.Certificate
}

type pemKey struct {
	text string
	// public is nil for a key that cannot be read here.
	public crypto.PublicKey
}

func (s *pemScan) scan(text string) {
	for {
		begin := strings.Index(text, "-----BEGIN ")
		if begin < 0 {
			return
		}
		text = text[begin:]
		end := strings.Index(text, "-----END ")
		if end < 0 {
			return
		}
		stop := strings.Index(text[end+9:], "-----")
		if stop < 0 {
			return
		}
		end += 9 + stop + 5
		s.add(text[:end])
		text = text[end:]
	}
}

func (s *pemScan) add(text string) {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i]) // indented in YAML, say
	}
	block, _ := pem.Decode([]byte(strings.Join(lines, "\n") + "\n"))
	if block == nil {
		return
	}
	whole := string(pem.EncodeToMemory(block))
	if strings.HasSuffix(block.Type, "PRIVATE KEY") {
		s.keys = append(s.keys, pemKey{whole, publicOf(block.Bytes)})
		return
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	switch {
	case block.Type != "CERTIFICATE" || err != nil:
	case !cert.IsCA:
		s.certs = append(s.certs, pemCert{whole, cert})
	case !slices.Contains(s.cas, whole):
		s.cas = append(s.cas, whole)
	}
}

func publicOf(der []byte) crypto.PublicKey {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if s, ok := key.(crypto.Signer); ok {
			return s.Public()
		}
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key.Public()
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key.Public()
	}
	return nil
}

// pick chooses the certificate that answers a request: the last one, and where
// the request names a host and issues for it, the last one for that host. A
// file with certificates for several requests needs the name to tell them.
func (s *pemScan) pick(req Request, alone bool) (pemCert, bool) {
	name, _ := req.Body["common_name"].(string)
	named := name != "" && strings.Contains(req.Path, "/issue/")
	if !named && !alone {
		return pemCert{}, false
	}
	for _, c := range slices.Backward(s.certs) {
		if !named || strings.EqualFold(c.cert.Subject.CommonName, name) || slices.Contains(c.cert.DNSNames, name) {
			return c, true
		}
	}
	return pemCert{}, false
}

// bundle puts the key that belongs to the certificate, and the CAs, beside it.
func (s *pemScan) bundle(c pemCert) dep.PemEncoded {
	out := dep.PemEncoded{Cert: c.text, CAChain: s.cas}
	if len(s.cas) > 0 {
		out.CA = s.cas[0]
	}
	for _, k := range s.keys {
		pub, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
		if ok && pub.Equal(c.cert.PublicKey) {
			out.Key = k.text
		}
	}
	return out
}
