package aws

import (
	"context"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"latchkey/internal/auth"
	"latchkey/internal/retry"
)

// FromLambda gives the keys of a Lambda function: those in its environment, or, under
// SnapStart, those of the endpoint that its environment names. The environment's
// live as long as it does.
func FromLambda(s Settings) Credentials { return keep(&function{s}) }

type function struct{ s Settings }

// Retrieve implements Credentials.
func (f *function) Retrieve(ctx context.Context) (sdk.Credentials, error) {
	if keys, ok := f.s.fromEnv(); ok {
		return keys.Retrieve(ctx)
	}
	if c, ok := f.s.container(); ok {
		return c.Retrieve(ctx)
	}
	// Nobody sets them later.
	return sdk.Credentials{}, retry.Permanent(fmt.Errorf("%w: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set; Lambda sets them for a function with a role", auth.ErrCredentials))
}

// Region implements locator.
func (f *function) Region(context.Context) (string, error) { return f.s.region(), nil }
