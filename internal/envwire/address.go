package envwire

import "strconv"

// Address is the name of the abstract Unix socket where the two sides meet, with
// the @ that net and syscall know one by. Both sides see the address of Lambda's
// runtime API, and each sandbox has its own, so that two in one network namespace do
// not take each other's.
func Address(runtimeAPI string) string {
	for i := range len(runtimeAPI) {
		c := runtimeAPI[i]
		plain := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == ':' || c == '-' || c == '[' || c == ']'
		if !plain || i >= 64 {
			return prefix + "#" + strconv.FormatUint(sum(runtimeAPI), 16)
		}
	}
	return prefix + runtimeAPI
}

const prefix = "@latchkey-env/"

// sum is FNV-1a: a name's length is bounded, and nobody has to be kept from
// finding another with the same sum, since who is at the other end is looked at.
func sum(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
