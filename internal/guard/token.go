package guard

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"latchkey/internal/cred"
)

// Header is where a caller shows the token of caller_token_file or
// caller_token_env. It is ours alone: a request that is let through has it no
// more. Where no token is asked for it stays, and is for the proxy to drop.
const Header = "X-Latchkey-Token"

// tokenGuard wants the caller's token.
type tokenGuard struct {
	*door
	token func() (cred.Redacted, error)
	next  http.Handler
}

func (g *tokenGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	want, err := g.token()
	if err == nil && want.Empty() {
		err = errors.New("it is empty")
	}
	if err != nil {
		// The file is looked at again in a second; see File.
		w.Header().Set("Retry-After", "1")
		g.refuse(w, r, noToken, http.StatusServiceUnavailable,
			"the token that callers have to show cannot be read just now, so nobody is let in; the log of this proxy says why", "error", err)
		return
	}
	// The comparison is made whatever was sent, and for one value only: two
	// would be read differently by two readers.
	shown := r.Header[Header]
	var one string
	if len(shown) == 1 {
		one = shown[0]
	}
	if !cred.Redact(one).Equal(want) {
		text := "the token in " + Header + " is not the one that this listener asks for"
		if len(shown) != 1 {
			text = "this listener wants exactly one header " + Header + ", with the token that callers were given"
		}
		g.refuse(w, r, noToken, http.StatusForbidden, text)
		return
	}
	delete(r.Header, Header)
	g.next.ServeHTTP(w, r)
}

// Fixed is a token that does not change; an empty one lets nobody in.
func Fixed(token cred.Redacted) func() (cred.Redacted, error) {
	return func() (cred.Redacted, error) { return token, nil }
}

const (
	// lookEvery is how seldom the file is looked at, however many requests come.
	lookEvery = time.Second
	// young is how long a file may change again without looking different:
	// some file systems tell times by two seconds.
	young = 2 * time.Second
	// maxToken bounds what is read.
	maxToken = 64 << 10
)

// File gives the token in a file, without the white space around it. The file is
// looked at no more than once a second and read again when it changed, so that a
// token may be replaced while requests come. While it is missing, empty or not
// readable the error says so, and nobody is let in. It may be used from any
// goroutine.
func File(path string) func() (cred.Redacted, error) {
	f := &file{path: path}
	return f.token
}

// file is what was last read, and when it was looked at.
type file struct {
	path string

	mu     sync.Mutex
	looked time.Time
	info   os.FileInfo
	// again says that the file was young when it was read.
	again bool
	value cred.Redacted
	err   error
}

func (f *file) token() (cred.Redacted, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now().Round(0)
	if since := now.Sub(f.looked); since >= 0 && since < lookEvery {
		return f.value, f.err
	}
	f.looked = now
	info, err := os.Stat(f.path)
	if err == nil && f.err == nil && !f.again && f.info != nil && os.SameFile(info, f.info) &&
		info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
		return f.value, nil
	}
	f.info = info
	f.again = err == nil && now.Sub(info.ModTime()) < young
	f.value, f.err = read(f.path)
	return f.value, f.err
}

func read(path string) (cred.Redacted, error) {
	in, err := os.Open(path)
	if err != nil {
		return cred.Redacted{}, err
	}
	defer func() { _ = in.Close() }()
	text, err := io.ReadAll(io.LimitReader(in, maxToken+1))
	switch {
	case err != nil:
		return cred.Redacted{}, err
	case len(text) > maxToken:
		return cred.Redacted{}, fmt.Errorf("%s is too large for a token", path)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return cred.Redacted{}, fmt.Errorf("%s is empty", path)
	}
	return cred.Redact(token), nil
}
