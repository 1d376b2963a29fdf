package auth

import (
	"context"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

type jwtConfig struct {
	Path           string `config:"path,required"`
	Role           string `config:"role,required"`
	Remove         bool   `config:"remove_jwt_after_reading"`
	FollowSymlinks bool   `config:"remove_jwt_follows_symlinks"`
	// ReadPeriod is how often a watcher looks for a new file.
	ReadPeriod time.Duration `config:"jwt_read_period"`
}

// jwt logs in with a signed token from a file, such as one that a platform
// writes and rotates. What was read last is kept in memory and serves again
// when the file is gone. The file is removed after a login that succeeded.
type jwt struct {
	watch
	o    Options
	cfg  jwtConfig
	file credentialFile
}

// JWT is the constructor of method "jwt".
func JWT(o Options) (Method, error) {
	cfg := jwtConfig{Remove: true}
	if err := o.Config.Decode(&cfg); err != nil {
		return nil, err
	}
	if cfg.ReadPeriod < 0 {
		return nil, o.Config.Problem("jwt_read_period", "is negative", "give a duration such as 1m")
	}
	every := cfg.ReadPeriod
	switch {
	case every > 0:
	case cfg.Remove:
		every = 500 * time.Millisecond
	default:
		every = time.Minute
	}
	return &jwt{watch: watching(every, cfg.Path), o: o, cfg: cfg, file: credentialFile{what: "JWT", key: "path", path: cfg.Path, keep: o.Preserve, log: o.logger()}}, nil
}

func (m *jwt) Login(ctx context.Context, c *vault.Client) (cred.Token, error) {
	m.mark()
	token, read, err := m.file.latest()
	if err != nil {
		return cred.Token{}, m.o.attempted(err)
	}
	tok, err := login(ctx, c, m.o, map[string]any{"role": m.cfg.Role, "jwt": token.Reveal()})
	if err == nil && m.cfg.Remove && !read.Empty() {
		m.file.discard(read, m.cfg.FollowSymlinks)
	}
	return tok, err
}
