package sink

import (
	"encoding/json"
	"time"

	"latchkey/internal/cred"
)

// wrapJSON is what a reader of a wrapped token expects, key by key.
type wrapJSON struct {
	Token           string    `json:"token"`
	Accessor        string    `json:"accessor"`
	TTL             int64     `json:"ttl"`
	CreationTime    time.Time `json:"creation_time"`
	CreationPath    string    `json:"creation_path"`
	WrappedAccessor string    `json:"wrapped_accessor"`
}

// encode returns the bytes that a reader finds: the token alone, without a
// line break, or the wrapping's description as one line of JSON, with one.
func encode(tok cred.Token) ([]byte, error) {
	w := tok.Wrap
	if w == nil {
		return []byte(tok.Value.Reveal()), nil
	}
	line, err := json.Marshal(wrapJSON{
		Token: w.Token.Reveal(), Accessor: w.Accessor, TTL: int64(w.TTL / time.Second),
		CreationTime: w.CreationTime, CreationPath: w.CreationPath, WrappedAccessor: w.WrappedAccessor,
	})
	return append(line, '\n'), err
}
