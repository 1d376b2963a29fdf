package extension

import (
	"errors"
	"testing"

	"latchkey/internal/ref"
)

// A start that may fail had used its time up, and the function then waited once more.
func TestAFunctionThatStartsWithoutItsValuesIsNotKeptWaitingForThem(t *testing.T) {
	plan, err := ref.Find(nil, ref.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := &variables{plan: plan, err: errors.New("the server is sealed")}
	if a := v.answer(t.Context()); a.Err != "the server is sealed" {
		t.Errorf("the first one is told %q", a.Err)
	}
	if a := v.answer(t.Context()); a.Err != "" {
		t.Errorf("who is started again is told %q, and nobody was asked", a.Err)
	}
}
