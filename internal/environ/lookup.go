package environ

import "strings"

// Lookup finds the variables of an environment. Of a name that is in it twice the
// first counts, as it does for the operating system.
func Lookup(env []string) func(name string) (value string, ok bool) {
	return func(name string) (string, bool) {
		for _, entry := range env {
			if value, ok := strings.CutPrefix(entry, name); ok && strings.HasPrefix(value, "=") {
				return value[1:], true
			}
		}
		return "", false
	}
}
