package template

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
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
	// spent is the moment from which on it is replaced.
	spent time.Time
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
	req.Fresh = true // what is kept of it is in the files
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
	if p.certs == nil {
		p.certs = map[string]certificate{}
	}
	p.certs[key] = c
	p.note(c.pem.Key)
	return c.pem, nil
}

// findCertificates grants what wishes for certificates the files can. Where
// each template has its own, each keeps it; where one has only a part, all
// that ask for the same put their files together, in a Watch also those that
// are not in this round; else a new one is issued.
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
	found := make([]certificate, len(askers))
	each := true
	for i := range askers {
		var ok bool
		found[i], ok = u.findIn(req, askers[i:i+1], nil, now)
		each = each && ok
	}
	if each {
		for i, j := range askers {
			if j.own == nil {
				j.own = map[string]certificate{}
			}
			j.own[key] = found[i]
		}
		return true
	}
	var others []*job
	if u.round != nil {
		others = u.round.others(req, askers)
	}
	if len(askers)+len(others) == 1 {
		return false
	}
	together, ok := u.findIn(req, askers, others, now)
	if ok {
		u.certs[key] = together
	}
	return ok
}

// findIn looks for a certificate with all the parts that the texts of the jobs
// mention, in their destinations and the files of their writeToFile calls, and in
// those of others.
func (u *run) findIn(req Request, jobs, others []*job, now time.Time) (certificate, bool) {
	var s pemScan
	needKey, needCA, alone := false, false, true
	for i, j := range slices.Concat(jobs, others) {
		s.scan(j.held())
		for _, path := range append([]string{j.t.spec.Destination}, j.t.text.targets...) {
			if b, err := os.ReadFile(path); err == nil {
				s.scan(string(b))
			}
		}
		if f := j.t.text.fields; i < len(jobs) {
			needKey = needKey || f["Key"]
			needCA = needCA || f["CA"] || f["CAChain"]
		}
		alone = alone && len(j.pki) == 1 && j.t.text.pkiCerts == 1
	}
	cert, ok := s.pick(req, alone)
	if !ok {
		return certificate{}, false
	}
	out := certificate{pem: s.bundle(cert), spent: u.set.spent(cert.cert)}
	if !now.Before(out.spent) || needKey && out.pem.Key == "" || needCA && out.pem.CA == "" {
		return certificate{}, false
	}
	return out, true
}

// spent is the moment at which the threshold of a certificate's life has gone by,
// give or take 0.03 so that machines set up together do not renew together. The
// draw is made of the certificate and a number of this process: it is the same
// at every look, and nobody has to remember it.
func (s *Set) spent(c *x509.Certificate) time.Time {
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(slices.Clone(c.Raw), s.seed))
	draw := float64(binary.LittleEndian.Uint64(sum[:])>>11) / (1 << 53)
	share := s.opts.RenewThreshold + (draw-0.5)*0.06
	if share <= 0 || share >= 1 {
		share = s.opts.RenewThreshold
	}
	return c.NotBefore.Add(time.Duration(float64(c.NotAfter.Sub(c.NotBefore)) * share))
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
		c = u.set.fromAnswer(res.Secret)
	}
	u.certs[key] = c
	if c.err == nil && u.round != nil {
		u.round.minted(key, c)
	}
	return c.err
}

func (set *Set) fromAnswer(s *cred.Secret) certificate {
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
		return certificate{err: errors.New("the answer holds no certificate")}
	}
	cert := scan.certs[len(scan.certs)-1]
	out := scan.bundle(cert)
	if out.Key == "" && len(scan.keys) > 0 {
		// A kind of key that is not known here; the server should know.
		out.Key = scan.keys[len(scan.keys)-1].text
	}
	return certificate{pem: out, spent: set.spent(cert.cert)}
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
