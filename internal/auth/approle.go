package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

type appRoleConfig struct {
	RoleIDFile   string `config:"role_id_file_path"`
	SecretIDFile string `config:"secret_id_file_path"`
	// RoleID and SecretID are the values in place, for where a variable is all
	// there is to configure with.
	RoleID   string `config:"role_id"`
	SecretID string `config:"secret_id"`
	Remove   bool   `config:"remove_secret_id_file_after_reading"`
	// WrappingPath is a pointer because "" is a mistake, and absent is not.
	WrappingPath *string `config:"secret_id_response_wrapping_path"`
}

// appRole logs in with a role_id and, unless the role needs none, a secret_id.
//
// What was read once is kept in memory, so that a later login works when the
// files are gone. Values in place are taken as they are, a wrapping token too. The
// secret_id's file is removed when the secret_id in it has served: after the first
// login that succeeds, so that a run that ends before (the server was down) can be
// repeated with the same, maybe single-use, secret_id. A file with a wrapping token
// is removed as soon as it has been unwrapped, for it is worth nothing from then on.
type appRole struct {
	watch
	o            Options
	roleIDFile   credentialFile
	secretIDFile credentialFile // no path: as given, or log in with the role_id alone
	// roleID and given are the values in place, empty where files have them.
	roleID, given cred.Redacted
	remove        bool
	wrappingPath  string // "": the file holds the secret_id itself

	secretID cred.Redacted
	// opened is the wrapping token that secretID came out of; asked is the
	// last one that the server was asked to unwrap, answered or not.
	opened, asked cred.Redacted
}

// AppRole is the constructor of method "approle".
func AppRole(o Options) (Method, error) {
	cfg := appRoleConfig{Remove: true}
	if err := o.Config.Decode(&cfg); err != nil {
		return nil, err
	}
	if p := cfg.problem(o); p != nil {
		return nil, p
	}
	log := o.logger()
	m := &appRole{
		roleID: cred.Redact(strings.TrimSpace(cfg.RoleID)), given: cred.Redact(strings.TrimSpace(cfg.SecretID)),
		watch:        watching(watchEvery, cfg.RoleIDFile, cfg.SecretIDFile),
		o:            o,
		roleIDFile:   credentialFile{what: "role_id", key: "role_id_file_path", path: cfg.RoleIDFile, log: log},
		secretIDFile: credentialFile{what: "secret_id", key: "secret_id_file_path", path: cfg.SecretIDFile, keep: o.Preserve, log: log},
		remove:       cfg.Remove,
	}
	if cfg.SecretIDFile+cfg.SecretID != "" && cfg.WrappingPath != nil {
		if *cfg.WrappingPath == "" {
			return nil, o.Config.Problem("secret_id_response_wrapping_path", "is empty",
				"name the path that creates the secret_id, such as auth/approle/role/NAME/secret-id, or leave the key out")
		}
		m.wrappingPath = *cfg.WrappingPath
	}
	return m, nil
}

// problem says which of file and value is missing, or too much.
func (cfg *appRoleConfig) problem(o Options) error {
	switch {
	case cfg.RoleIDFile == "" && cfg.RoleID == "":
		return o.Config.Problem("role_id_file_path", "is required", "or role_id, the value itself")
	case cfg.RoleIDFile != "" && cfg.RoleID != "":
		return o.Config.Problem("role_id", "is set, and so is role_id_file_path", "keep one of them")
	case cfg.SecretIDFile != "" && cfg.SecretID != "":
		return o.Config.Problem("secret_id", "is set, and so is secret_id_file_path", "keep the file: it can be replaced, and others cannot read it")
	}
	return nil
}

func (m *appRole) Login(ctx context.Context, c *vault.Client) (cred.Token, error) {
	m.mark()
	roleID := m.roleID
	if roleID.Empty() {
		var err error
		if roleID, _, err = m.roleIDFile.latest(); err != nil {
			return cred.Token{}, m.o.attempted(err)
		}
	}
	body := map[string]any{"role_id": roleID.Reveal()}
	read, err := m.readSecretID(ctx, c)
	if err != nil {
		return cred.Token{}, m.o.attempted(err)
	}
	if !m.secretID.Empty() {
		body["secret_id"] = m.secretID.Reveal()
	}
	tok, err := login(ctx, c, m.o, body)
	if err != nil {
		if refused(err) && m.secretIDFile.path != "" && read.Empty() {
			err = fmt.Errorf("%w (the secret_id is one that was read earlier; deliver a new one in %s)", err, m.secretIDFile.path)
		}
		return cred.Token{}, err
	}
	if m.remove && m.wrappingPath == "" && m.given.Empty() && !read.Empty() {
		m.secretIDFile.discard(read, false)
	}
	return tok, nil
}

// readSecretID brings m.secretID up to date and returns the content of the
// file, empty when it was not there and the secret_id in memory has to do.
func (m *appRole) readSecretID(ctx context.Context, c *vault.Client) (cred.Redacted, error) {
	if m.secretIDFile.path == "" && m.given.Empty() {
		return cred.Redacted{}, nil
	}
	content, err := m.given, error(nil)
	if content.Empty() {
		content, err = m.secretIDFile.read()
	}
	switch {
	case err == nil:
	case m.secretID.Empty():
		if m.remove && errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w (an earlier run may have removed it, see remove_secret_id_file_after_reading)", err)
		}
		return cred.Redacted{}, err
	default:
		m.o.logger().Debug("using the secret_id read earlier", "error", err)
		return cred.Redacted{}, nil
	}
	if m.wrappingPath == "" {
		m.secretID = content
		return content, nil
	}
	if !content.Equal(m.opened) {
		if err := m.unwrap(ctx, c, content); err != nil {
			return cred.Redacted{}, err
		}
	}
	if m.remove && m.given.Empty() {
		m.secretIDFile.discard(content, false)
	}
	return content, nil
}

// unwrap exchanges a wrapping token for the secret_id in it, after making sure
// that it is the answer of the path it should be: a token from elsewhere means
// that somebody put their own in its place.
func (m *appRole) unwrap(ctx context.Context, c *vault.Client, wrapping cred.Redacted) error {
	file := m.place()
	info, err := c.LookupWrapping(ctx, wrapping)
	if err != nil {
		return m.spent(wrapping, err)
	}
	if info.CreationPath != m.wrappingPath {
		return retry.Permanent(fmt.Errorf(
			"%w: SECURITY: the wrapping token in %s was created at %q and not at %q; it was not unwrapped, and may have been put there by somebody else",
			ErrCredentials, file, info.CreationPath, m.wrappingPath))
	}
	if m.o.Preserve {
		return retry.Permanent(fmt.Errorf("%w: %s holds a wrapping token, unspent and from the right path", ErrWouldSpend, file))
	}
	secret, err := c.Unwrap(ctx, wrapping)
	if err != nil {
		err = m.spent(wrapping, err)
		m.asked = wrapping
		return err
	}
	id, _ := secret.Data["secret_id"].(string)
	if id == "" {
		return retry.Permanent(fmt.Errorf("%w: the wrapping token in %s held no secret_id", ErrCredentials, file))
	}
	m.secretID, m.opened = cred.Redact(id), wrapping
	return nil
}

// place is where the secret_id, or the wrapping token, stands.
func (m *appRole) place() string {
	if m.secretIDFile.path == "" {
		return "secret_id"
	}
	return m.secretIDFile.path
}

// spent explains a wrapping token that the server does not accept; an error of
// another kind is returned as it is.
func (m *appRole) spent(wrapping cred.Redacted, err error) error {
	if !refused(err) {
		return err
	}
	why := "if nobody of yours has unwrapped it, it may have been intercepted"
	if m.asked.Equal(wrapping) {
		why = "this run asked for it before and got no answer, which may have used it up"
	}
	return retry.Permanent(fmt.Errorf("%w: the wrapping token in %s was used already or has expired (%s): %w",
		ErrCredentials, m.place(), why, err))
}

// refused reports whether the server answered that what was sent is not valid.
func refused(err error) bool {
	return errors.Is(err, vault.ErrBadRequest) || errors.Is(err, vault.ErrDenied)
}
