// Package e2e holds the cases of internal/vaulttest/cases against a real Vault;
// see its tests. `go test -run AsRecorded -record .` writes the transcripts that
// the fake is held to anew. `go run ./getvault` builds the server beforehand.
// Live database credentials need a PostgreSQL; the package postgres says where
// it comes from. The load needs wrk, which the package debian fetches; `make load`
// goes on for a minute, as fast as it can. The cases of the Lambda extension run on
// AWS's own emulator too when LATCHKEY_RIE names its binary.
package e2e
