package cred

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Version is a fingerprint of which version of a secret an answer of a version 2
// key-value engine holds: number, times, and the custom metadata, which comes
// along with the data. It is "", which stands for no version at all and is equal
// to none, for any other answer and for a version that is deleted or destroyed
// at now: whether that one can be read, only reading tells.
func (s *Secret) Version(now time.Time) string {
	meta, _ := s.Data["metadata"].(map[string]any)
	return fingerprint(meta["version"], meta, meta["custom_metadata"], now)
}

// MetadataVersion is the fingerprint that Version gives to the secret whose
// metadata s holds. An empty number is the newest version, else it is the one
// meant.
func (s *Secret) MetadataVersion(number string, now time.Time) string {
	if number == "" {
		number = fmt.Sprint(s.Data["current_version"])
	}
	versions, _ := s.Data["versions"].(map[string]any)
	meta, _ := versions[number].(map[string]any)
	return fingerprint(number, meta, s.Data["custom_metadata"], now)
}

func fingerprint(number any, meta map[string]any, custom any, now time.Time) string {
	created, _ := meta["created_time"].(string)
	deleted, _ := meta["deletion_time"].(string)
	destroyed, _ := meta["destroyed"].(bool)
	if number == nil || created == "" || destroyed {
		return ""
	}
	if deleted != "" {
		// It may be set beforehand, by delete_version_after.
		at, err := time.Parse(time.RFC3339Nano, deleted)
		if err != nil || !now.Before(at) {
			return ""
		}
	}
	// A map's keys come out sorted.
	text, err := json.Marshal([]any{fmt.Sprint(number), created, deleted, custom})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}
