// Package cases holds what is true of every Vault that latchkey meets, each
// thing written once: the conversations that the fake must hold as the real
// server does (Scripts), and the runs of the whole program (Programs).
//
// The fake is asked by this package's own tests, with no download; the real
// server by the nested module e2e. A conversation's transcript lies in
// testdata/scripts, recorded from the real server: to add one, write the
// function, then in e2e
//
//	go test -run AsRecorded -record .
//
// and make the fake agree. Correct a transcript only by recording it.
package cases
