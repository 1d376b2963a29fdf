package proxy

import (
	"encoding/base64"
	"fmt"
)

// stateOf is a state as the server writes it.
func stateOf(local, replicated int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "v1:cluster:%d:%d:0a0b", local, replicated))
}
