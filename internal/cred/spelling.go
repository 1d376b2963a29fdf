package cred

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// Short returns a token as its server shows it in answers about it. Vault 1.10 and
// later give out a longer spelling, hvs. and base64 of a message that holds the
// short one and a checksum, and take either: who compares two tokens, or knows
// them by a sum, compares and sums this. Anything else is returned as it is.
//
// The checksum is not verified; what has the same short spelling and is no token is
// known to whoever has the token alone.
func (r Redacted) Short() Redacted {
	text := r.Reveal()
	head, rest, ok := strings.Cut(text, ".")
	if !ok || len(rest) < 64 || head != "hvs" && head != "s" {
		return r
	}
	message, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(rest, "="))
	if err != nil {
		return r
	}
	short := string(field(field(message, 3), 1))
	if !strings.HasPrefix(short, head+".") {
		return r
	}
	return Redact(short)
}

// field returns what a protobuf message has under a number with a length, nil for
// nothing and for what is no message.
func field(message []byte, number uint64) []byte {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return nil
		}
		message = message[n:]
		value, n := binary.Uvarint(message)
		if n <= 0 {
			return nil
		}
		message = message[n:]
		switch tag & 7 {
		case 0: // a number, which was value
		case 2:
			if value > uint64(len(message)) {
				return nil
			}
			if tag>>3 == number {
				return message[:value]
			}
			message = message[value:]
		default:
			return nil
		}
	}
	return nil
}
