// Package aws logs in with the identity that AWS gives a place: a Lambda
// function's role, an instance's, a pod's, a profile's.
//
// Two methods. "aws" signs a request that asks AWS who is calling, and hands it to
// the server, which sends it on: signing is done at each login and needs no network.
// "aws_web_identity" has AWS sign a JWT about the caller, for a server that knows no
// AWS at all, only JWTs.
//
// Of the AWS SDK the signer alone is linked; why is told in docs/decisions. Keys come
// from a Credentials: FromLambda is what a function needs, Chain is what the SDK would
// look at, in its order. No key, session token or signed header ever stands in an
// error or a log line.
package aws

import (
	"context"
	"fmt"
	"net/http"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"latchkey/internal/auth"
)

// Credentials is where keys come from. Retrieve may be called at any time and
// concurrently; it is cheap when it was called shortly before.
type Credentials interface {
	Retrieve(ctx context.Context) (sdk.Credentials, error)
}

// locator is implemented by Credentials that know where they are. The region is ""
// where nothing says.
type locator interface {
	Region(ctx context.Context) (string, error)
}

// forgetter is implemented by Credentials that hold what they got; after Forget the
// next Retrieve gets it anew.
type forgetter interface{ Forget() }

// Settings is what auth.Options cannot say.
type Settings struct {
	// Environ looks up a variable; nil for an empty environment.
	Environ func(name string) (string, bool)
	// Credentials gives the keys where the block holds none.
	Credentials Credentials
	// HTTP carries what is sent to AWS; nil for a client of its own, with short
	// timeouts, that keeps no connection, so that none can have died.
	HTTP *http.Client
}

// env is a variable's value, "" when it is not set.
func (s Settings) env(name string) string {
	if s.Environ == nil {
		return ""
	}
	v, _ := s.Environ(name)
	return v
}

func (s Settings) http() *http.Client {
	if s.HTTP != nil {
		return s.HTTP
	}
	return direct(http.ProxyFromEnvironment)
}

// attempted says which method failed, once.
func attempted(o auth.Options, err error) error {
	return fmt.Errorf("%s at %s: %w", o.Config.Type, o.Mount, err)
}
