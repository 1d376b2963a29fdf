package proxy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"latchkey/internal/exchange"
)

// switchOver joins the two connections until either ends.
func (h *handler) switchOver(w http.ResponseWriter, r *http.Request, resp *http.Response) {
	server, ok := resp.Body.(io.ReadWriter)
	if !ok {
		h.refuse(w, r, refusal{status: http.StatusBadGateway, text: "the server's connection cannot be written to"})
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.refuse(w, r, refusal{status: http.StatusNotImplemented, text: "a connection of this kind cannot become a web socket"})
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Time{})
	h.done(r, resp.StatusCode, exchange.Direct)
	head := &http.Response{
		StatusCode: resp.StatusCode, ProtoMajor: 1, ProtoMinor: 1, Header: resp.Header.Clone(),
	}
	head.Header["Connection"], head.Header["Upgrade"] = upgrade, webSocket
	if head.Write(conn) != nil {
		return
	}
	// Closing one side ends what is read from it, and so the other direction.
	end := sync.OnceFunc(func() {
		_ = conn.Close()
		_ = resp.Body.Close()
	})
	stop := context.AfterFunc(r.Context(), end)
	defer stop()
	var both sync.WaitGroup
	both.Go(func() {
		defer end()
		_, _ = io.Copy(conn, server)
	})
	both.Go(func() {
		defer end()
		_, _ = io.Copy(server, buffered.Reader)
	})
	both.Wait()
}
