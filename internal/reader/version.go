package reader

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// Version is a fingerprint of what a read would answer, as cred.Secret.Version
// makes it, got from the metadata of a version 2 key-value engine without the
// data. ok is false, with no error, where there is none to be had: another kind
// of request, another engine, or a policy that does not allow the metadata. An
// empty v with ok is a version that only reading the data can tell.
func (r *Reader) Version(ctx context.Context, req cred.Request) (v string, ok bool, err error) {
	if req.Op != cred.OpRead || needsNoMount(req.Path) {
		return "", false, nil
	}
	r.learnMounts(ctx, []string{req.Path})
	if err := ctx.Err(); err != nil {
		// What was called off says nothing about the mount.
		return "", false, err
	}
	path, kv2, err := r.mounts.resolve(req)
	if err != nil {
		r.mounts.doubt(req.Path)
		return "", false, err
	}
	mount, _, _ := r.mounts.of(req.Path)
	name, isData := strings.CutPrefix(path, mount.Path+"data/")
	if !kv2 || !isData {
		return "", false, nil
	}
	query, err := url.ParseQuery(req.Query)
	if err != nil {
		return "", false, nil // reading it says what is wrong
	}
	number := query.Get("version")
	if number == "0" {
		number = "" // the newest too
	}
	var meta *cred.Secret
	err = r.patiently(ctx, "look at "+req.Path, func(ctx context.Context) (err error) {
		meta, err = r.client.Read(ctx, mount.Path+"metadata/"+name, nil)
		return err
	})
	switch {
	case err == nil:
		return meta.MetadataVersion(number, time.Now()), true, nil
	case errors.Is(err, vault.ErrNotFound):
		return "", true, nil
	case errors.Is(err, vault.ErrDenied) && !errors.Is(err, vault.ErrInvalidToken):
		return "", false, nil
	}
	return "", false, err
}
