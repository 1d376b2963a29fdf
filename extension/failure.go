package extension

import (
	"context"
	"errors"
	"io/fs"

	"latchkey/internal/auth"
	"latchkey/internal/config"
	"latchkey/internal/session"
	"latchkey/internal/vault"
)

// Kinds of failure, as the platform, the function's caller and its metrics see
// them.
const (
	kindConfig   = "Extension.ConfigInvalid"
	kindListen   = "Extension.ListenFailed"
	kindDNS      = "Extension.DNSFailed"
	kindTCP      = "Extension.ConnectFailed"
	kindTLS      = "Extension.TLSFailed"
	kindHTTP     = "Extension.NoAnswer"
	kindLogin    = "Extension.AuthFailed"
	kindSecret   = "Extension.SecretFailed"
	kindOutput   = "Extension.OutputFailed"
	kindStopped  = "Extension.Stopped"
	kindPlatform = "Extension.PlatformError"
)

// onTheWay is the kind of a failure on the way to the server, "" for another.
func onTheWay(s vault.Stage) string {
	switch s {
	case vault.StageDNS:
		return kindDNS
	case vault.StageTCP:
		return kindTCP
	case vault.StageTLS:
		return kindTLS
	case vault.StageHTTP:
		return kindHTTP
	}
	return ""
}

// hint says what to look at first, "" for nothing in particular.
func hint(kind string) string {
	switch kind {
	case kindDNS:
		return "the name in VAULT_ADDR has no address for the function: look at its VPC's DNS settings and private zones"
	case kindTCP:
		return "nobody takes connections at VAULT_ADDR: look at the function's subnets, route tables and security groups, and at the server's"
	case kindTLS:
		return "the server's certificate is not trusted, or it wants one: see VAULT_CACERT, VAULT_CACERT_BYTES, VAULT_TLS_SERVER_NAME, VAULT_CLIENT_CERT"
	case kindHTTP:
		return "there was a connection and no answer in time, or the server is sealed, standby or overloaded"
	case kindLogin:
		return "the server refuses the login: look at VAULT_AUTH_PROVIDER (the mount), VAULT_AUTH_ROLE and what the role is bound to"
	case kindSecret:
		return "the login went well: look at the path (data/ of a version 2 key-value engine included) and at the policies of the role"
	case kindOutput:
		return "the secrets are there, and what is made of them is not: see the path (a function can write below /tmp alone), its owner, the command"
	case kindListen:
		return "another extension or the function itself listens there: see LATCHKEY_LISTEN"
	}
	return ""
}

// nothingToShow is the hint where the server was not asked at all.
const nothingToShow = "there is nothing to log in with, so the server was not asked: see LATCHKEY_AUTH_METHOD and its keys; for AWS, the function's role, and a way to STS for an assumed role or a web identity"

// Output marks an error as one of writing what secrets are made into, and not of
// getting them.
func Output(err error) error {
	if err == nil {
		return nil
	}
	return output{err}
}

type output struct{ error }

func (o output) Unwrap() error { return o.error }

// kindOf says at which stage a start failed.
func kindOf(err error) string {
	var closed listenError
	var settings fault
	var problem *config.Problem
	var server *vault.Error
	switch {
	case errors.As(err, &closed):
		return kindListen
	case errors.As(err, &settings), errors.As(err, &problem):
		return kindConfig
	case errors.Is(err, auth.ErrCredentials):
		return kindLogin
	}
	if kind := onTheWay(vault.StageOf(err)); kind != "" {
		return kind
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return kindHTTP // of a request, or of who waited for another's
	case errors.Is(err, session.ErrLogin), errors.Is(err, vault.ErrNotLoggedIn):
		return kindLogin
	case errors.Is(err, context.Canceled):
		return kindStopped
	case errors.As(err, &server):
		return kindSecret
	}
	var path *fs.PathError
	var marked output
	if errors.As(err, &path) || errors.As(err, &marked) {
		return kindOutput
	}
	return kindSecret
}

// describe is a failure for people: what, and what to look at.
func describe(err error) (kind, message string) {
	if err == nil {
		return "", ""
	}
	kind = kindOf(err)
	message = err.Error()
	look := hint(kind)
	if errors.Is(err, auth.ErrCredentials) {
		look = nothingToShow
	}
	if look != "" {
		message += " (" + look + ")"
	}
	return kind, message
}
