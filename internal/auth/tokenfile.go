package auth

import (
	"context"
	"errors"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

type tokenFileConfig struct {
	Path string `config:"token_file_path,required"`
}

// tokenFile takes a token that is already there and asks the server about it.
// The file is read at each login; the mount path plays no part.
type tokenFile struct {
	watch
	o    Options
	file credentialFile
}

// TokenFile is the constructor of method "token_file".
func TokenFile(o Options) (Method, error) {
	var cfg tokenFileConfig
	if err := o.Config.Decode(&cfg); err != nil {
		return nil, err
	}
	o.Mount = "auth/token"
	return &tokenFile{watch: watching(watchEvery, cfg.Path), o: o, file: credentialFile{what: "token", key: "token_file_path", path: cfg.Path}}, nil
}

func (m *tokenFile) Login(ctx context.Context, c *vault.Client) (cred.Token, error) {
	m.mark()
	value, err := m.file.read()
	if err != nil {
		return cred.Token{}, m.o.attempted(err)
	}
	c = c.As(value)
	if m.o.Wrap > 0 {
		return m.wrapped(ctx, c)
	}
	tok, err := c.LookupSelf(ctx)
	if err != nil {
		return cred.Token{}, m.o.attempted(err)
	}
	tok.Borrowed = true
	return tok, nil
}

// wrapped has the server wrap its answer to the look-up, whose data.id is the
// token; that is what vault agent delivers for this method.
func (m *tokenFile) wrapped(ctx context.Context, c *vault.Client) (cred.Token, error) {
	const path = "auth/token/lookup-self"
	s, err := c.Wrapping(m.o.Wrap).Read(ctx, path, nil)
	if err == nil && (s.Wrap == nil || s.Wrap.Token.Empty()) {
		err = &vault.Error{Kind: vault.ErrNoToken, Op: "lookup", Path: path,
			Cause: errors.New("wrapping was asked for, and the answer holds no wrapping token")}
	}
	if err != nil {
		return cred.Token{}, m.o.attempted(err)
	}
	return cred.Token{Wrap: s.Wrap, Namespace: c.Namespace()}, nil
}
