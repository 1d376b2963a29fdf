package auth

import (
	"context"
	"fmt"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// login is the exchange that most methods end in: body to <mount>/login.
func login(ctx context.Context, c *vault.Client, o Options, body map[string]any) (cred.Token, error) {
	tok, err := c.Login(ctx, o.Mount+"/login", body)
	if err != nil {
		return cred.Token{}, o.attempted(err)
	}
	return tok, nil
}

// attempted says which method failed, once.
func (o Options) attempted(err error) error {
	return fmt.Errorf("%s at %s: %w", o.Config.Type, o.Mount, err)
}
