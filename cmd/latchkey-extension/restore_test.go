//go:build linux

package main

import (
	"errors"
	"strings"
	"testing"

	"latchkey/internal/lambdatest"
	"latchkey/internal/lambdatest/task"
	"latchkey/internal/vaulttest"
)

// What is left to the first invocation after a snapshot is what a start fails for
// elsewhere.
func TestAfterARestoreAFunctionDoesNotRunWithoutItsSecrets(t *testing.T) {
	denies := func(s *vaulttest.Server) {
		s.Rude(vaulttest.Match{Path: "auth/approle/login"}, vaulttest.Rudeness{Status: 403, Errors: []string{"permission denied"}})
	}
	s := stage(t, denies, lambdatest.Options{InitType: lambdatest.SnapStart})
	if f := s.Init().Fault; f != nil {
		t.Fatal(f)
	}
	_, err := s.Invoke(task.Task{Do: "sleep", MS: 3000})
	var fault *lambdatest.Fault
	if !errors.As(err, &fault) || fault.Type != lambdatest.ExitError {
		t.Errorf("%v\n%s", err, s.Logs(""))
	}
	if log := s.Logs(""); !strings.Contains(log, "Extension.AuthFailed") {
		t.Error(log)
	}
	open := stage(t, denies, lambdatest.Options{InitType: lambdatest.SnapStart}, "LATCHKEY_FAIL=open")
	open.do(task.Task{})
}
