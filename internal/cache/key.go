package cache

import "crypto/sha256"

// Key tells requests apart: two that the server could answer differently never
// share one.
type Key [sha256.Size]byte
