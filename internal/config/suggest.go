package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// elsewhere is the hint for a key that another block knows, or "".
func elsewhere(key, where string) string {
	homes := homesOf(key)
	if len(homes) == 0 {
		return ""
	}
	return fmt.Sprintf("it is not %s; it belongs to %s", where, strings.Join(homes, " or "))
}

// Closest is the hint "did you mean ...?" for a word that is none of those known, ""
// when it resembles none.
func Closest(word string, known []string) string {
	if len(word) > 64 {
		return ""
	}
	best, least := "", 1+max(1, len(word)/3)
	for _, k := range known {
		d := levenshtein.Distance(strings.ToLower(word), strings.ToLower(k), nil)
		if d == 2 && swapped(strings.ToLower(word), strings.ToLower(k)) {
			d = 1
		}
		if d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// swapped says whether two words are the same but for two neighbours that changed
// places, which is one slip of the hand.
func swapped(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// homesOf names the blocks that have a key of that name, or none when there
// are too many to be of help.
func homesOf(key string) []string {
	var out []string
	for _, st := range stanzas() {
		k := find(st.keys, key)
		if k == nil || k.notInFile || strings.Contains(k.name, "*") {
			continue
		}
		name := st.name
		if name == "" {
			name = "the top level"
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	if len(out) > 3 {
		return nil
	}
	return out
}
