package cache

// top holds the top-level fields of one of the server's answers. The raw fields
// are parts of the body as they stand there; nil for null or missing.
type top struct {
	leaseID       string
	renewable     bool
	leaseDuration int64 // seconds
	hasAuth       bool
	hasWrap       bool
	auth, data    []byte
	mountType     string
}
