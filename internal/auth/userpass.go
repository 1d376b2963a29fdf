package auth

import (
	"context"
	"strings"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

type userPassConfig struct {
	Username     string `config:"username,required"`
	PasswordFile string `config:"password_file_path,required"`
	Remove       bool   `config:"remove_password_after_reading"`
}

// userPass logs in with a name and a password from a file. Unlike the
// short-lived credentials of other methods a password stays valid, and its
// file is most often a mounted secret: it is removed only when asked for. Only
// line breaks at the end are cut off, since a password may hold blanks.
type userPass struct {
	watch
	o    Options
	cfg  userPassConfig
	file credentialFile
}

// UserPass is the constructor of method "userpass", which vault agent lacks.
func UserPass(o Options) (Method, error) {
	var cfg userPassConfig
	if err := o.Config.Decode(&cfg); err != nil {
		return nil, err
	}
	if strings.Contains(cfg.Username, "/") || cfg.Username == "." || cfg.Username == ".." {
		return nil, o.Config.Problem("username", "is not a user name", "a name holds no slash; the mount belongs in mount_path")
	}
	file := credentialFile{what: "password", key: "password_file_path", path: cfg.PasswordFile, lines: true, keep: o.Preserve, log: o.logger()}
	return &userPass{watch: watching(watchEvery, cfg.PasswordFile), o: o, cfg: cfg, file: file}, nil
}

func (m *userPass) Login(ctx context.Context, c *vault.Client) (cred.Token, error) {
	m.mark()
	password, read, err := m.file.latest()
	if err != nil {
		return cred.Token{}, m.o.attempted(err)
	}
	tok, err := c.Login(ctx, m.o.Mount+"/login/"+m.cfg.Username, map[string]any{"password": password.Reveal()})
	if err != nil {
		return cred.Token{}, m.o.attempted(err)
	}
	if m.cfg.Remove && !read.Empty() {
		m.file.discard(read, false)
	}
	return tok, nil
}
