//go:build linux

// Command runtime is the least that a function's runtime can be: it asks for the
// first event and waits for it. It has no network library, so that what a start
// costs is not what the function costs.
package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	api := os.Getenv("AWS_LAMBDA_RUNTIME_API")
	host, port, _ := strings.Cut(api, ":")
	n, err := strconv.Atoi(port)
	if err != nil || host != "127.0.0.1" {
		fail("AWS_LAMBDA_RUNTIME_API is " + api)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		fail(err.Error())
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: n, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		fail(err.Error())
	}
	if _, err := syscall.Write(fd, []byte("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: "+api+"\r\n\r\n")); err != nil {
		fail(err.Error())
	}
	for b := make([]byte, 512); ; {
		if n, err := syscall.Read(fd, b); n <= 0 && err != syscall.EINTR {
			return
		}
	}
}

func fail(why string) {
	os.Stderr.WriteString("runtime: " + why + "\n")
	os.Exit(1)
}
