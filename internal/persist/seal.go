package persist

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// The data key is random and made with the file; it is kept in the file, sealed
// with a key that is derived from the caller's key material:
//
//	magic | salt | sealed data key
//
// The magic's last byte is the version of all there is. Each record is sealed with
// a key of its own, derived from the data key and a random salt, so that no two
// share a key and a nonce however many there are:
//
//	salt | sealed (length of name | name | value)
//
// Where a record stands (its bucket, and the HMAC of its name) is authenticated
// along: none can be moved.
const (
	magic      = "latchkey-persist\x01"
	wrapSalt   = 32
	recordSalt = 24
	keySize    = 32
	nonceSize  = 12
	tagSize    = 16
	nameSize   = 16
)

// errSealed: it was changed, or sealed with another key.
var errSealed = errors.New("it was changed, or sealed with another key")

// wrap seals a data key with key material, for what bind names.
func wrap(data, material []byte, bind string) ([]byte, error) {
	out := append([]byte(magic), salt(wrapSalt)...)
	aead, nonce, err := wrapping(material, out[len(magic):])
	if err != nil {
		return nil, err
	}
	return aead.Seal(out, nonce, data, []byte(magic+bind)), nil
}

// unwrap is the way back. Its errors are ErrForeign: another version, another key
// or another bind.
func unwrap(b, material []byte, bind string) ([]byte, error) {
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok || len(rest) != wrapSalt+keySize+tagSize {
		return nil, fmt.Errorf("%w: it is of another version", ErrForeign)
	}
	aead, nonce, err := wrapping(material, rest[:wrapSalt])
	if err != nil {
		return nil, err
	}
	data, err := aead.Open(nil, nonce, rest[wrapSalt:], []byte(magic+bind))
	if err != nil {
		return nil, ErrForeign
	}
	return data, nil
}

func wrapping(material, salt []byte) (cipher.AEAD, []byte, error) {
	key, err := hkdf.Key(sha256.New, material, salt, magic+"data key", keySize+nonceSize)
	if err != nil {
		return nil, nil, err
	}
	return gcm(key)
}

// gcm takes apart a derived key and makes its cipher.
func gcm(key []byte) (cipher.AEAD, []byte, error) {
	block, err := aes.NewCipher(key[:keySize])
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCM(block)
	return aead, key[keySize:], err
}

// salt is n random bytes; rand.Read never fails, see its documentation.
func salt(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// sealer seals and opens the records of one file.
type sealer struct{ data, names []byte }

func newSealer(data []byte) (*sealer, error) {
	names, err := hkdf.Expand(sha256.New, data, magic+"names", keySize)
	return &sealer{data, names}, err
}

// name is under what a record stands in its bucket.
func (s *sealer) name(bucket, name string) []byte {
	mac := hmac.New(sha256.New, s.names)
	mac.Write(where(bucket, []byte(name)))
	return mac.Sum(nil)[:nameSize]
}

// where names a place: a bucket has no zero byte in its name.
func where(bucket string, at []byte) []byte {
	return append(append([]byte(bucket), 0), at...)
}

func (s *sealer) seal(bucket, name string, value []byte) (at, sealed []byte, err error) {
	at = s.name(bucket, name)
	out := make([]byte, recordSalt, recordSalt+binary.MaxVarintLen64+len(name)+len(value)+tagSize)
	_, _ = rand.Read(out)
	aead, nonce, err := s.record(out)
	if err != nil {
		return nil, nil, err
	}
	plain := binary.AppendUvarint(out, uint64(len(name)))
	plain = append(append(plain, name...), value...)[recordSalt:]
	// In place: what is sealed overlaps exactly with what it was.
	return at, aead.Seal(out, nonce, plain, where(bucket, at)), nil
}

// open returns what stands at at in a bucket. Its one error is errSealed.
func (s *sealer) open(bucket string, at, sealed []byte) (name string, value []byte, err error) {
	if len(sealed) < recordSalt+tagSize {
		return "", nil, errSealed
	}
	aead, nonce, err := s.record(sealed[:recordSalt])
	if err != nil {
		return "", nil, errSealed
	}
	plain, err := aead.Open(nil, nonce, sealed[recordSalt:], where(bucket, at))
	if err != nil {
		return "", nil, errSealed
	}
	length, n := binary.Uvarint(plain)
	if n <= 0 || length > uint64(len(plain)-n) {
		return "", nil, errSealed
	}
	name, value = string(plain[n:n+int(length)]), plain[n+int(length):]
	if !bytes.Equal(s.name(bucket, name), at) {
		return "", nil, errSealed
	}
	return name, value, nil
}

func (s *sealer) record(salt []byte) (cipher.AEAD, []byte, error) {
	key, err := hkdf.Expand(sha256.New, s.data, magic+"record"+string(salt), keySize+nonceSize)
	if err != nil {
		return nil, nil, err
	}
	return gcm(key)
}
