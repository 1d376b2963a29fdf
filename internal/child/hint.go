package child

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"latchkey/internal/environ"
)

// hint makes a reason that is about the environment say which variable it is.
// It names no value.
func hint(err error, env []string) error {
	var longest string
	total := 0
	for _, entry := range env {
		if strings.IndexByte(entry, 0) >= 0 {
			return fmt.Errorf("the variable %q holds a NUL byte, which no environment can", environ.Name(entry))
		}
		total += len(entry) + 1
		if len(entry) > len(longest) {
			longest = entry
		}
	}
	if errors.Is(err, syscall.E2BIG) && longest != "" {
		return fmt.Errorf("%w: the environment has %d bytes, %d of them in %q", err, total, len(longest), environ.Name(longest))
	}
	return err
}
