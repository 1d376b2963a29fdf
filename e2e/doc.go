// Package e2e holds the cases of internal/vaulttest/cases against a real Vault;
// see its tests. `go test -run RealVault -record .` writes the transcripts that
// the fake is held to anew.
package e2e
