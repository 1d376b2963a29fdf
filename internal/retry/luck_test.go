package retry

import "testing"

func TestCopiesOfAProcessDoNotDrawTheSameNumbersOnceShaken(t *testing.T) {
	seen := map[float64]bool{}
	for range 100 {
		Shake()
		x := Luck()
		if x < 0 || x >= 1 || seen[x] {
			t.Fatalf("drew %v", x)
		}
		seen[x] = true
	}
}
