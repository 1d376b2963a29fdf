//go:build !unix

package systemd

import "errors"

func keepFromChildren(int) error { return errors.ErrUnsupported }
