//go:build linux

package main

import (
	"net"
	"strings"
	"testing"

	"latchkey/internal/lambdatest"
)

func TestAPortThatIsTakenIsNamed(t *testing.T) {
	_, env := world(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := lambdatest.Start(t, lambdatest.Options{
		Extension: built.extension(t), Function: built.function(t), Env: append(env, "LATCHKEY_LISTEN="+taken.Addr().String()),
	})
	r := p.Init()
	if r.Fault == nil || r.ReportedType != "Extension.ListenFailed" {
		t.Errorf("%v, %s", r.Fault, r.ReportedType)
	}
	for _, want := range []string{"LATCHKEY_LISTEN", taken.Addr().String(), "in use"} {
		if !strings.Contains(r.ReportedBody, want) {
			t.Errorf("no %s in %s", want, r.ReportedBody)
		}
	}
}
