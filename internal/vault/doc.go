// Package vault is the only package that talks to HashiCorp Vault and OpenBao.
//
// A Client is immutable: As, In, Wrapping and Agent return a view with another
// token, namespace, wrapping or User-Agent over the same connections, so no
// room can change another's identity. Every call is one request (a redirect to
// the active node aside): repeating it is the caller's decision, made with
// internal/retry from the kind of the error. Errors are *Error with a kind to
// ask errors.Is for; neither they nor anything logged carries a token or a
// request's body.
package vault
