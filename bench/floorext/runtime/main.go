//go:build linux

// Command runtime is the least that can stand on either side of Lambda's platform. As
// a function's runtime it asks for the first event and waits for it, so that what a
// start costs is not what the function costs. With the argument "extension" it is an
// extension that does nothing but ask for the next event, so that what an invocation
// costs a sandbox anyway is known: to be woken, and to answer.
//
// It has no network library.
package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	api := os.Getenv("AWS_LAMBDA_RUNTIME_API")
	fd := dial(api)
	if len(os.Args) < 2 {
		ask(fd, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: "+api+"\r\n\r\n")
		return
	}
	const base = "/2020-01-01/extension/"
	if !ask(fd, "POST "+base+"register HTTP/1.1\r\nHost: "+api+"\r\nLambda-Extension-Name: runtime\r\nContent-Length: 0\r\n\r\n") {
		fail("register: no answer")
	}
	next := "GET " + base + "event/next HTTP/1.1\r\nHost: " + api + "\r\n\r\n"
	for ask(fd, next) {
	}
}

func dial(api string) int {
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
	return fd
}

var answer [4096]byte

// ask sends a request and waits for an answer, which is small enough to come at
// once; false when there is none, or it is the last.
func ask(fd int, request string) bool {
	if _, err := syscall.Write(fd, []byte(request)); err != nil {
		return false
	}
	for {
		n, err := syscall.Read(fd, answer[:])
		if err != syscall.EINTR {
			return n > 0 && !strings.Contains(string(answer[:n]), "SHUTDOWN")
		}
	}
}

func fail(why string) {
	os.Stderr.WriteString("runtime: " + why + "\n")
	os.Exit(1)
}
