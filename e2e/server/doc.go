// Package server runs a real Vault for tests: it finds or builds the binary,
// starts it on a free loopback port, and makes sure that it ends with the test
// process, however that ends.
//
// The binary is what LATCHKEY_VAULT_BIN names; otherwise it is built once from
// the module that server.mod pins as a tool, into the user's cache directory.
// server.mod is a module file of its own, beside go.mod, because Vault must be
// built from the very dependencies it was released with: in one module file,
// latchkey's would raise them.
package server
