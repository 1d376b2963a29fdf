//go:build !windows

package main

import "context"

// runService answers where there is no such service manager.
func runService(_ context.Context, w world, _ given, _ []string) int {
	return fail(w.stderr, usageError{"'latchkey service' is for Windows only; here a service manager runs 'latchkey daemon': for systemd, see samples/systemd/latchkey.service"})
}
