package listen

import (
	"errors"
	"strings"

	"latchkey/internal/config"
)

// Check says what Open would find wrong with a listener, as far as that can be
// seen without a socket: files that cannot be used, users that are not there, an
// address that is none. Its errors are those of Open.
func Check(l config.Listener, o Options) error {
	at := o.at(l)
	var errs []error
	if !l.TLSDisable {
		_, err := newCertificates(l, at, o.Log)
		errs = append(errs, err)
	}
	switch {
	case strings.HasPrefix(l.Address, inheritedPrefix):
	case l.Type == "tcp":
		_, _, err := addressOf(l, o, at)
		errs = append(errs, err)
	case l.Type == "unix":
		_, err := accessOf(l, at)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
