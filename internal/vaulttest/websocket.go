package vaulttest

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
)

// stream is one subscription: a websocket (RFC 6455) on which the server talks
// and the client may only ping and close.
type stream struct {
	s     *Server
	token *token
	kind  string
	json  bool
	// messages are what is still to be sent; end is closed, with the server's
	// lock held, when nothing more will be, ended when the connection is gone.
	messages   chan []byte
	end, ended chan struct{}
}

// send queues a message; who reads too slowly is dropped.
func (st *stream) send(message []byte) {
	select {
	case st.messages <- message:
	default:
		st.close()
	}
}

// close may be called twice; the server's lock is held.
func (st *stream) close() {
	select {
	case <-st.end:
	default:
		close(st.end)
	}
}

// websocketGUID is what RFC 6455 adds to a client's key.
const websocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

func (st *stream) serve(w http.ResponseWriter, r *http.Request) {
	defer func() {
		st.s.mu.Lock()
		defer st.s.mu.Unlock()
		st.close()
		delete(st.s.streams, st)
		close(st.ended)
	}()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		fail(w, err)
		return
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + websocketGUID))
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		listen(conn, buffered.Reader)
	}()
	for err == nil {
		select {
		case message := <-st.messages:
			err = frame(conn, opText, message)
		case <-gone:
			err = io.EOF
		case <-st.end:
			_ = frame(conn, opClose, []byte{0x03, 0xe9}) // 1001: going away
			err = io.EOF
		}
	}
	_ = conn.Close()
	<-gone
}

const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xa
)

// listen answers pings until the client closes or is gone.
func listen(conn net.Conn, r *bufio.Reader) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		// A client's frame is masked, and one that only controls is short.
		n := int(head[1] & 0x7f)
		if head[1]&0x80 == 0 || n > 125 {
			return
		}
		body := make([]byte, 4+n)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		for i := range n {
			body[4+i] ^= body[i%4]
		}
		switch head[0] & 0xf {
		case opClose:
			return
		case opPing:
			if frame(conn, opPong, body[4:]) != nil {
				return
			}
		}
	}
}

// frame writes one whole message.
func frame(w io.Writer, op byte, body []byte) error {
	head := []byte{0x80 | op}
	switch n := len(body); {
	case n < 126:
		head = append(head, byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	_, err := w.Write(append(head, body...))
	return err
}
