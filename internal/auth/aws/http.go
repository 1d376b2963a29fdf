package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// direct is a client for a request now and then: it keeps no connection, because
// the next request comes an hour later, or after a freeze, and it says soon that
// nobody is there.
func direct(proxy func(*http.Request) (*url.URL, error)) *http.Client {
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			Proxy: proxy, DisableKeepAlives: true,
			DialContext:           (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			TLSHandshakeTimeout:   3 * time.Second,
			ResponseHeaderTimeout: 5 * time.Second,
		},
		// What is asked for carries credentials or answers with them: it goes to
		// whom it was meant for, or nowhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// refusal is an answer that is not what was asked for.
type refusal struct {
	// what was attempted, such as "sts:AssumeRole" or "instance metadata".
	what, where string
	status      int
	// code and message are AWS's own words, without what must not be told.
	code, message string
	after         time.Duration
	hint          string
}

func (r *refusal) Error() string {
	s := r.what + " at " + r.where + ": " + fmt.Sprint(r.status)
	for _, part := range []string{r.code, r.message} {
		if part != "" {
			s += " " + part
		}
	}
	if r.hint != "" {
		s += " (" + r.hint + ")"
	}
	return s
}

// RetryAfter is the wish of who refused; internal/retry asks for it.
func (r *refusal) RetryAfter() time.Duration { return r.after }

// lasting says whether repeating the request is of no use: it was understood, and
// the answer is no.
func (r *refusal) lasting() bool {
	switch r.code {
	// Other keys may be there by the next attempt; throttling passes.
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired", "Throttling", "ThrottlingException", "TooManyRequestsException",
		"RequestLimitExceeded", "IDPCommunicationError", "RequestTimeout":
		return false
	}
	return r.status >= 400 && r.status < 500 && r.status != http.StatusRequestTimeout && r.status != http.StatusTooManyRequests
}

// kinded is r as an error of this room.
func (r *refusal) kinded() error {
	err := fmt.Errorf("%w: %w", auth.ErrCredentials, r)
	if r.lasting() {
		return retry.Permanent(err)
	}
	return err
}

// send sends a request and reads the answer, whatever its status. An error says
// what was attempted and where; the network's own words are kept, the query of the
// URL is not.
func send(c *http.Client, what string, r *http.Request) (*http.Response, []byte, error) {
	resp, err := c.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, nil, fmt.Errorf("%w: %s at %s: %w", auth.ErrCredentials, what, origin(r.URL), err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errors.New("the answer is larger than 1 MiB")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s at %s: %w", auth.ErrCredentials, what, origin(r.URL), err)
	}
	return resp, body, nil
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// retryAfter reads the header, in seconds; 0 for none.
func retryAfter(h http.Header) time.Duration {
	d, err := time.ParseDuration(strings.TrimSpace(h.Get("Retry-After")) + "s")
	if err != nil || d < 0 {
		return 0
	}
	return d
}

// fetch is a GET for an answer of status 200. token is in header, and in no error.
func fetch(ctx context.Context, c *http.Client, what, to string, header http.Header, token cred.Redacted) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: not a URL", auth.ErrCredentials, what)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	resp, body, err := send(c, what, r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		code, message := complaint(body)
		no := &refusal{what: what, where: origin(r.URL), status: resp.StatusCode, after: retryAfter(resp.Header), code: code, message: scrub(message, token)}
		return nil, fmt.Errorf("%w: %w", auth.ErrCredentials, no)
	}
	return body, nil
}

// scrub takes secrets out of somebody else's words.
func scrub(text string, secrets ...cred.Redacted) string {
	for _, s := range secrets {
		if !s.Empty() {
			text = strings.ReplaceAll(text, s.Reveal(), s.String())
		}
	}
	return text
}
