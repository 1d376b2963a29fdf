// Package vaulttest is a Vault to test against: a strict fake of its HTTP API,
// a front that counts, records and misbehaves on request, and an Admin that
// sets up this fake and a real server with the same calls.
//
// Use New in a test. Everything is set up over HTTP, as with a real server:
// Server.Admin enables a method, writes a secret, makes a policy. What the fake
// answers is not invented: the scripts of the package cases were run against a
// real server, their transcripts are checked in, and the fake must give the
// same ones. A path the fake does not have is a 404 as it is with the real
// one, so a test cannot pass by accident; to add a path, add it to a script,
// record that script against the real server, then write it here.
//
// A Front can stand before a real server too (NewProxy), so a test that counts
// requests or wants a 429 runs against both.
//
// It is a server that one would let people run: standard library only, no
// sleeping, one lock, and nothing in it knows latchkey.
package vaulttest
