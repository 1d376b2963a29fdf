//go:build !linux

package execwrap

import "os"

// Become says that there is no Lambda here.
func Become(_, _ []string) (code int) {
	_, _ = os.Stderr.WriteString("latchkey-exec: starts programs on Linux alone\n")
	return 125
}
