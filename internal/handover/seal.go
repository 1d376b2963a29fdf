package handover

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"

	"latchkey/internal/cred"
)

// magic begins every file; its last byte is the version of what follows:
//
//	magic | salt | ciphertext with its tag
//
// The key of AES-256-GCM is derived from the key material and the salt, and so
// is the nonce: each file has a salt of its own, so that neither is ever used
// twice. The magic and what the token is bound to are authenticated along.
const (
	magic    = "latchkey-handover\x01"
	saltSize = 32
)

func seal(tok cred.Redacted, key []byte, bind string) ([]byte, error) {
	// It never fails; see its documentation.
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt)
	aead, nonce, err := derive(key, salt)
	if err != nil {
		return nil, err
	}
	out := append([]byte(magic), salt...)
	return aead.Seal(out, nonce, []byte(tok.Reveal()), associated(bind)), nil
}

func open(data, key []byte, bind string) (cred.Redacted, error) {
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok || len(rest) < saltSize {
		return cred.Redacted{}, ErrForeign
	}
	aead, nonce, err := derive(key, rest[:saltSize])
	if err != nil {
		return cred.Redacted{}, err
	}
	tok, err := aead.Open(nil, nonce, rest[saltSize:], associated(bind))
	if err != nil || len(tok) == 0 {
		return cred.Redacted{}, ErrSealed
	}
	return cred.Redact(string(tok)), nil
}

// derive makes the cipher and the nonce of one salt.
func derive(key, salt []byte) (cipher.AEAD, []byte, error) {
	const keySize, nonceSize = 32, 12
	material, err := hkdf.Key(sha256.New, key, salt, magic, keySize+nonceSize)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(material[:keySize])
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCM(block)
	return aead, material[keySize:], err
}

func associated(bind string) []byte { return []byte(magic + bind) }
