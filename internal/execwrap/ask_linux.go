package execwrap

import (
	"strconv"
	"syscall"

	"latchkey/internal/envwire"
)

// The extension listens before Lambda starts the runtime, so nobody waits for it but
// where something is wrong. An extension that ends closes its side at once; answerWait
// is for one that hangs, and longer than any start may take. In milliseconds.
const (
	listenWait = 3_000
	answerWait = 130_000
	retryEvery = 5
)

// ask gets the environment from the extension; why is for people, and "" when it
// came.
func ask(runtimeAPI string) (a envwire.Answer, why string) {
	if runtimeAPI == "" {
		return a, "AWS_LAMBDA_RUNTIME_API is not set: this program starts what runs in AWS Lambda, beside the extension"
	}
	fd, why := connect(envwire.Address(runtimeAPI))
	if why != "" {
		return a, why
	}
	defer syscall.Close(fd)
	peer, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	switch {
	case err != nil:
		return a, "the other end of the socket cannot be told: " + err.Error()
	case int(peer.Uid) != syscall.Geteuid():
		return a, "another user (" + strconv.Itoa(int(peer.Uid)) + ") answers in place of the extension, and is not asked"
	}
	b, why := readAll(fd)
	if why != "" {
		return a, why
	}
	if len(b) == 0 {
		return a, "the extension closed the socket without an answer: it has ended, or runs as another user; its log says more"
	}
	if a, err = envwire.Decode(b); err != nil {
		return a, err.Error()
	}
	return a, ""
}

// connect waits until somebody listens.
func connect(address string) (fd int, why string) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, "no socket: " + err.Error()
	}
	until := wall() + listenWait
	for {
		err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: address})
		switch {
		case err == nil, err == syscall.EISCONN:
			return fd, ""
		case err == syscall.EINTR:
			continue // a connection that was begun is finished by asking again
		case err != syscall.ECONNREFUSED && err != syscall.EAGAIN:
			syscall.Close(fd)
			return -1, "the extension is not reached: " + err.Error()
		case wall() >= until || wall() < until-listenWait:
			syscall.Close(fd)
			return -1, "no extension listens: is latchkey-extension in the layers, and what does its log say?"
		}
		// There is one thread of work and nobody to tell it to stop but a signal, which
		// ends the process.
		pause := syscall.NsecToTimespec(retryEvery * 1_000_000)
		_ = syscall.Nanosleep(&pause, nil)
	}
}

// readAll reads until the other side closes.
func readAll(fd int) (b []byte, why string) {
	until := wall() + answerWait
	b = make([]byte, 0, 4096)
	for {
		left := until - wall()
		if left <= 0 || left > answerWait {
			return nil, "the extension did not answer within " + strconv.Itoa(answerWait/1000) + " seconds"
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		limit := syscall.NsecToTimeval(left * 1_000_000)
		if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit); err != nil {
			return nil, "the socket takes no deadline: " + err.Error()
		}
		n, err := syscall.Read(fd, b[len(b):cap(b)])
		switch {
		case err == syscall.EINTR || err == syscall.EAGAIN:
			continue
		case err != nil:
			return nil, "the answer cannot be read: " + err.Error()
		case n == 0:
			return b, ""
		}
		if b = b[:len(b)+n]; len(b) > envwire.MaxSize {
			return nil, "the answer is longer than one can be"
		}
	}
}
