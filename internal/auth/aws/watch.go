package aws

import (
	"context"
	"crypto/sha256"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
)

// watch tells of keys that replace those of the last login. It asks where they come
// from, which reads files and, once keys have come to their end, a metadata service
// beside us. Keys of a role that is taken on are not watched, but those it is taken
// on with.
type watch struct {
	from  Credentials
	every time.Duration
	// known is of the keys of the last login, latest of those seen last; both are
	// nothing until the watch begins.
	begun         bool
	known, latest [sha256.Size]byte
}

// Fresh implements auth.Watcher.
func (w *watch) Fresh() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	keys, err := w.from.Retrieve(ctx)
	if err != nil {
		return false
	}
	w.latest = digest(keys)
	if !w.begun {
		w.begun, w.known = true, w.latest
	}
	return w.latest != w.known
}

// Every implements auth.Watcher.
func (w *watch) Every() time.Duration { return w.every }

// mark takes what was seen last as known; Login begins with it.
func (w *watch) mark() { w.known = w.latest }

func digest(c sdk.Credentials) [sha256.Size]byte {
	return sha256.Sum256([]byte(c.AccessKeyID + "\x00" + c.SecretAccessKey + "\x00" + c.SessionToken))
}
