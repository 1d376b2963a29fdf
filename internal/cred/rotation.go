package cred

import "encoding/json"

// Rotation is in how many seconds the server changes the credential that the secret
// holds, and whether it does that by itself. The number is the server's, whatever sense
// it makes.
func (s *Secret) Rotation() (seconds int64, ok bool) {
	if s.Data["rotation_period"] == nil && s.Data["rotation_schedule"] == nil {
		return 0, false
	}
	n, ok := s.Data["ttl"].(json.Number)
	if !ok {
		return 0, false
	}
	seconds, err := n.Int64()
	return seconds, err == nil
}
