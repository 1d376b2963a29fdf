package vault

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
)

// Stage is how far a request came that failed on its way.
type Stage string

// The stages, in the order in which they are passed.
const (
	StageDNS  Stage = "DNS"  // the server's name has no address
	StageTCP  Stage = "TCP"  // nobody takes a connection there
	StageTLS  Stage = "TLS"  // the two sides do not come to terms
	StageHTTP Stage = "HTTP" // no answer came, or one that says the server is not able to give one now
	StageAPI  Stage = "API"  // the server answered, and the answer is no
)

// StageOf says at which stage an error happened, "" for one that is no failed
// request.
func StageOf(err error) Stage {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	err = e // and not what stands beside it in a joined error
	var dns *net.DNSError
	var op *net.OpError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var untrusted *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &dns):
		return StageDNS
	case errors.Is(err, ErrInsecure), errors.As(err, &untrusted), errors.As(err, &record), errors.As(err, &alert), errors.As(err, &authority):
		return StageTLS
	case errors.As(err, &op) && op.Op == "dial":
		return StageTCP
	case errors.Is(err, errShake), strings.Contains(err.Error(), "TLS handshake timeout"): // whose type is not exported
		return StageTLS
	case e.Status == 0, Temporary(err):
		return StageHTTP
	}
	return StageAPI
}
