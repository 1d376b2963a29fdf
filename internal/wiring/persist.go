package wiring

import (
	"path/filepath"

	"latchkey/internal/access"
	"latchkey/internal/config"
	"latchkey/internal/logging"
	"latchkey/internal/persist"
)

// persistFile is the name of the file in the folder that persist.path names.
const persistFile = "latchkey-cache.db"

// Persist says where tokens and leases are kept over a restart, and reports false
// when the configuration has no place for them. The file is for the caller to
// open, and to close when the parts have ended.
func Persist(f *config.File, o Options) (persist.Options, bool) {
	if f.Cache == nil || f.Cache.Persist == nil {
		return persist.Options{}, false
	}
	p := f.Cache.Persist
	key := p.KeyFile
	if p.Type == "kubernetes" {
		key = p.ServiceAccountTokenFile
	}
	return persist.Options{
		Path: filepath.Join(p.Path, persistFile), Key: keyMaterial(key, p.KeyEnv, o), Bind: KeptFor(f),
		Log: logging.Named(o.Log, "persist"),
	}, true
}

// KeptFor names the server that a configuration is about. What is kept of one is of
// no use with another.
func KeptFor(f *config.File) string { return f.Vault.Address + " " + access.ReadNamespace(f) }
