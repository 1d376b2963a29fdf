package environ

import "testing"

func TestLookup(t *testing.T) {
	look := Lookup([]string{"A=1", "B=x=y", "A=2", "C", "AB=3", "D="})
	for name, want := range map[string]string{"A": "1", "B": "x=y", "AB": "3", "D": ""} {
		if got, ok := look(name); !ok || got != want {
			t.Errorf("%s is %q, %v", name, got, ok)
		}
	}
	for _, name := range []string{"C", "E"} {
		if got, ok := look(name); ok {
			t.Errorf("%s is %q", name, got)
		}
	}
}
