package lambdatest

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
)

// given counts the ports that were given out.
var given atomic.Int64

// FreeAddress is a host and port of loopback where nobody listens, for a program
// that is told where to. It is of a range from which no connection takes its own
// port, so that it stays free until then.
func FreeAddress() (string, error) {
	const first, many = 10_000, 20_000
	for range many {
		// Test binaries that run side by side begin at different places.
		port := first + (int64(os.Getpid())*61+given.Add(1))%many
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if l, err := net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", fmt.Errorf("no port from %d to %d is free", first, first+many)
}
