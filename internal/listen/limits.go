package listen

import (
	"log/slog"
	"net/http"
	"time"

	"latchkey/internal/config"
)

// Limits bound what one listener takes on. The zero value has none but those of
// every server: ten seconds for the headers of a request, half a minute without a
// byte of a body that is expected, five minutes between two requests, and 1 MiB
// of headers.
//
// None of them cuts what moves: a body may be sent for hours, an answer may be
// written for days, and a connection that was taken over (a websocket) is nobody's
// business any more. What a limit refuses before the answer began gets JSON,
// {"errors": [...]}, instead of whatever the handler says; headers that are far too
// large get net/http's own 431, in plain text, because there is no request yet.
type Limits struct {
	// Connections is how many may be open at a time, idle ones included; 0 is no
	// limit. Those beyond get 503 with Retry-After for their first request, and
	// are closed: who waits in a queue cannot tell what for. Of these there are
	// spare at a time; what comes beyond them too is closed without a word. Open
	// counts, so its block must have max_connections too, as LimitsOf gives it.
	Connections int
	// Header bounds all headers of a request, in bytes, as they are written in
	// HTTP/1.1, the request's first line included. 0 is 1 MiB, and 4 KiB more.
	Header int
	// Body bounds a request's body, in bytes; 0 is no limit. Beyond it is 413.
	Body int64
	// Request is how long a request may take until its answer begins, the
	// sending of its body included; 0 is no limit. Then its context ends, and
	// what the handler says is replaced by 504.
	Request time.Duration
}

// LimitsOf is what a listener block asks for.
func LimitsOf(l config.Listener) Limits {
	return Limits{Connections: l.MaxConnections, Header: l.MaxHeaderSize, Body: l.MaxBodySize, Request: l.RequestTimeout}
}

// The bounds of every request. Vault Agent has the first and the last too; where
// it allows half a minute for the whole body, here that is for its next byte.
const (
	readHeaderTimeout = 10 * time.Second
	bodyPatience      = 30 * time.Second
	idleTimeout       = 5 * time.Minute
)

// Server is the HTTP server of a listener: HTTP/1.1, and HTTP/2 where Open speaks
// TLS. Every request comes to h, "OPTIONS *" too, and PeerOf knows who sent it.
// What goes wrong with single connections (a handshake that fails, a client that
// breaks off) is logged at debug: anybody can cause it.
func (m Limits) Server(h http.Handler, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h = &bounded{limits: m, next: h}
	read := 0
	if m.Header > 0 {
		h, read = slim{m.Header, h}, m.Header+beyond
	}
	if m.Connections > 0 {
		h = &full{h}
	}
	return &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            readHeaderTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               read,
		ConnContext:                  remember,
		DisableGeneralOptionsHandler: true, // it would answer before any guard
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
