package listen

import (
	"net/http"

	"latchkey/internal/exchange"
)

// beyond is how much larger than allowed headers may be and still get an answer
// that says so. What is larger even than that is not read to its end, and gets
// net/http's own 431.
const beyond = 64 << 10

// slim refuses requests with more headers than max bytes.
type slim struct {
	max  int
	next http.Handler
}

func (s slim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.max < headerSize(r) {
		exchange.Refuse(w, http.StatusRequestHeaderFieldsTooLarge, "the headers are larger than this listener takes; max_header_size is the limit")
		return
	}
	s.next.ServeHTTP(w, r)
}

// headerSize is what the head of a request takes when it is written in HTTP/1.1,
// its first line included.
func headerSize(r *http.Request) int {
	const line = len("\r\n")
	n := len(r.Method) + len(" ") + len(r.RequestURI) + len(" HTTP/1.1") + line
	if r.Host != "" {
		n += len("Host: ") + len(r.Host) + line
	}
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(": ") + len(v) + line
		}
	}
	return n + line
}
