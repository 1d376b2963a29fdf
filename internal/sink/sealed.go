package sink

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"latchkey/internal/retry"
)

// publicKeyJSON is what a reader leaves at dh_path.
type publicKeyJSON struct {
	PublicKey []byte `json:"curve25519_public_key"`
}

// envelopeJSON is what the sink holds.
type envelopeJSON struct {
	PublicKey []byte `json:"curve25519_public_key"`
	Nonce     []byte `json:"nonce"`
	Payload   []byte `json:"encrypted_payload"`
}

// sealed encrypts for the reader whose public key lies at a path.
//
// The reader is trusted on first use: the key that is found at the first write
// is kept as long as the process lives, and so is the key pair made for it. A
// key that is exchanged later is not looked at.
type sealed struct {
	Destination
	path   string
	derive bool
	aad    []byte

	reader *ecdh.PublicKey
	own    *ecdh.PrivateKey
}

func (s *sealed) Put(ctx context.Context, data []byte) (bool, error) {
	reader, own := s.reader, s.own
	if reader == nil {
		var err error
		if reader, err = readPublicKey(s.path); err != nil {
			return false, err
		}
		if own, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return false, err
		}
	}
	line, err := seal(own, reader, s.derive, s.aad, data)
	if err != nil {
		return false, fmt.Errorf("%s: %w", s.path, err)
	}
	s.reader, s.own = reader, own
	return s.Destination.Put(ctx, line)
}

func (s *sealed) Check() error {
	if _, err := readPublicKey(s.path); err != nil {
		return err
	}
	return s.Destination.Check()
}

// readPublicKey reads what the reader left. A file that is not there or not
// whole may be so in a moment; one that may not be read will not.
func readPublicKey(path string) (*ecdh.PublicKey, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no public key: %w (the reader of the token writes it there, see dh_path)", err)
	case err != nil:
		return nil, retry.Permanent(fmt.Errorf("no public key: %w", err))
	}
	key, err := parsePublicKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

func parsePublicKey(data []byte) (*ecdh.PublicKey, error) {
	var k publicKeyJSON
	if err := json.Unmarshal(data, &k); err != nil || len(k.PublicKey) == 0 {
		return nil, errors.New(`does not hold {"curve25519_public_key": "<base64 of 32 bytes>"}`)
	}
	key, err := ecdh.X25519().NewPublicKey(k.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("curve25519_public_key: %w", err)
	}
	return key, nil
}

// MarshalPublicKey returns what a reader of sealed tokens writes to dh_path.
func MarshalPublicKey(key *ecdh.PublicKey) ([]byte, error) {
	return json.Marshal(publicKeyJSON{key.Bytes()})
}

// seal returns the envelope as one line of JSON.
func seal(own *ecdh.PrivateKey, reader *ecdh.PublicKey, derive bool, aad, data []byte) ([]byte, error) {
	aead, err := cipherFor(own, reader, derive)
	if err != nil {
		return nil, err
	}
	e := envelopeJSON{PublicKey: own.PublicKey().Bytes(), Nonce: make([]byte, aead.NonceSize())}
	_, _ = rand.Read(e.Nonce)
	e.Payload = aead.Seal(nil, e.Nonce, data, aad)
	line, err := json.Marshal(e)
	return append(line, '\n'), err
}

// ErrEnvelope is the kind of every error of Open.
var ErrEnvelope = errors.New("envelope cannot be opened")

// Open returns what a sealed sink holds: the token, or, where the sink wraps
// too, the wrapping's line of JSON. The private key belongs to the public key
// that was left at dh_path; aad and derive are as in the sink's stanza.
func Open(envelope []byte, private *ecdh.PrivateKey, aad []byte, derive bool) ([]byte, error) {
	var e envelopeJSON
	if err := json.Unmarshal(envelope, &e); err != nil {
		// The decoder's own words may quote what it read.
		return nil, fmt.Errorf("%w: not the JSON of an envelope", ErrEnvelope)
	}
	sender, err := ecdh.X25519().NewPublicKey(e.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("%w: curve25519_public_key: %w", ErrEnvelope, err)
	}
	aead, err := cipherFor(private, sender, derive)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvelope, err)
	}
	if len(e.Nonce) != aead.NonceSize() {
		return nil, fmt.Errorf("%w: nonce is not %d bytes", ErrEnvelope, aead.NonceSize())
	}
	data, err := aead.Open(nil, e.Nonce, e.Payload, aad)
	if err != nil {
		return nil, fmt.Errorf("%w: wrong key, wrong aad, wrong derive_key, or damaged", ErrEnvelope)
	}
	return data, nil
}

// cipherFor agrees on the key with the other side. Both sides come to the same
// one: what is derived depends on the two public keys in their sorted order.
func cipherFor(own *ecdh.PrivateKey, other *ecdh.PublicKey, derive bool) (cipher.AEAD, error) {
	a, b := own.PublicKey().Bytes(), other.Bytes()
	if bytes.Equal(a, b) {
		return nil, errors.New("the other side's public key is our own")
	}
	key, err := own.ECDH(other)
	if err != nil {
		return nil, err
	}
	if derive {
		if bytes.Compare(a, b) > 0 {
			a, b = b, a
		}
		if key, err = hkdf.Key(sha256.New, key, a, string(b), 32); err != nil {
			return nil, err
		}
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
