package vault

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"latchkey/internal/cred"
)

// The headers that every client of the server sends.
const (
	headerRequest   = "X-Vault-Request"
	headerToken     = "X-Vault-Token"
	headerNamespace = "X-Vault-Namespace"
)

// maxBody bounds an answer, so that a rude server cannot fill the memory.
const maxBody = 64 << 20

// request is one call.
type request struct {
	op, method, path string
	query            url.Values
	body             map[string]any
}

// fail makes the error of a call whose answer is of no use.
func (r request) fail(kind error, text string) *Error {
	return &Error{Kind: kind, Op: r.op, Path: r.path, Cause: errors.New(text)}
}

// secret does the call and decodes an answer in the common shape.
func (c *Client) secret(ctx context.Context, r request) (*cred.Secret, error) {
	var a answer
	if err := c.do(ctx, r, &a); err != nil {
		return nil, err
	}
	if len(a.Warnings) > 0 {
		a.Warnings = c.words(r, a.Warnings)
	}
	return a.secret(time.Now()), nil
}

// do sends the request once, decodes a good answer into out, and reports to
// whoever watches tokens. An answer without content leaves out alone.
func (c *Client) do(ctx context.Context, r request, out any) error {
	err := c.exchange(ctx, r, out)
	if c.seen != nil && !c.token.Empty() {
		c.seen(c.token, err)
	}
	return err
}

func (c *Client) exchange(ctx context.Context, r request, out any) error {
	if strings.ContainsFunc(c.token.Reveal(), isControl) {
		return r.fail(ErrInvalidToken, "the token holds characters that no token has; is it a whole file?")
	}
	if c.limiter != nil {
		if err := c.limiter.Wait(ctx); err != nil {
			return &Error{Kind: ErrUnreachable, Op: r.op, Path: r.path, Cause: err}
		}
	}
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.send(ctx, r)
	if err != nil {
		return c.unreachable(parent, r, err)
	}
	defer resp.Body.Close()
	data, err := readAll(resp)
	if err != nil {
		return c.unreachable(parent, r, fmt.Errorf("the answer broke off: %w", err))
	}
	if len(data) > maxBody {
		return r.fail(ErrServer, "the answer is larger than 64 MiB")
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return c.refused(r, resp, data)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(out); err != nil {
		return &Error{Kind: ErrServer, Op: r.op, Path: r.path, Cause: errors.New("the answer is not the JSON of a Vault server; is the address right?")}
	}
	if a, ok := out.(*answer); ok {
		a.orBare(data)
	}
	return nil
}

// readAll reads the body into one buffer of the right size where it is known.
func readAll(resp *http.Response) ([]byte, error) {
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= maxBody {
		b.Grow(int(n) + bytes.MinRead)
	}
	_, err := b.ReadFrom(io.LimitReader(resp.Body, maxBody+1))
	return b.Bytes(), err
}

// send makes the HTTP request and follows one redirect, which is how a standby
// names the active node; never from https to http.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	u := *c.base
	u.Path += "/v1/" + r.path
	u.RawQuery = r.query.Encode()
	req, err := c.build(ctx, r, u.String())
	if err != nil {
		return nil, err
	}
	resp, err := c.first(ctx, req)
	if err != nil || c.disableRedirects {
		return resp, err
	}
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return resp, nil
	}
	to, err := resp.Location()
	resp.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("redirect: %w", err)
	}
	if u.Scheme == "https" && to.Scheme != "https" {
		return nil, fmt.Errorf("redirect from https to %s refused: it would send the token in clear: %w", to.Redacted(), ErrInsecure)
	}
	if req, err = c.build(ctx, r, to.String()); err != nil {
		return nil, err
	}
	return c.http.Do(req)
}

// first sends a request to the server itself.
func (c *Client) first(ctx context.Context, req *http.Request) (*http.Response, error) {
	w := c.wired()
	if w == nil {
		return c.http.Do(req)
	}
	var body func() io.Reader
	if req.GetBody != nil {
		body = func() io.Reader { b, _ := req.GetBody(); return b } // of bytes, which has no error
	}
	return w.roundTrip(ctx, req, body, -1)
}

func (c *Client) build(ctx context.Context, r request, url string) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, url, body)
	if err != nil {
		return nil, err
	}
	h := req.Header
	for k, v := range c.headers {
		h[k] = v
	}
	h.Set(headerRequest, "true")
	if body != nil {
		h.Set("Content-Type", "application/json")
	}
	if c.agent != "" {
		h.Set("User-Agent", c.agent)
	}
	if !c.token.Empty() {
		h.Set(headerToken, c.token.Reveal())
	}
	if c.namespace != "" {
		h.Set(headerNamespace, c.namespace)
	}
	if c.wrap > 0 {
		h.Set("X-Vault-Wrap-TTL", strconv.Itoa(seconds(c.wrap))+"s")
	}
	return req, nil
}

// unreachable says why there is no answer, with the address and without the
// layers that net/http puts around the cause.
func (c *Client) unreachable(parent context.Context, r request, err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var op *net.OpError
	dialing := errors.As(err, &op) && op.Op == "dial" // which has a limit of its own
	if parent.Err() == nil && errors.Is(err, context.DeadlineExceeded) && !dialing {
		err = fmt.Errorf("no answer within %s: %w", c.timeout, err)
	}
	kind := ErrUnreachable
	if why, ok := insecure(err); ok {
		kind = ErrInsecure
		err = fmt.Errorf("%w%s", err, why)
	}
	return &Error{Kind: kind, Op: r.op, Path: r.path, Cause: fmt.Errorf("%s: %w", c.Address(), err)}
}

// insecure reports whether both sides are there and do not come to terms over
// TLS, which no waiting mends, and what the error itself does not say of it.
func insecure(err error) (why string, ok bool) {
	var stranger x509.UnknownAuthorityError
	var untrusted *tls.CertificateVerificationError
	var remote *net.OpError
	switch {
	case errors.As(err, &stranger) && stranger.Cert != nil:
		return fmt.Sprintf(" (it was issued by %q)", stranger.Cert.Issuer), true
	case errors.As(err, &untrusted), errors.Is(err, http.ErrSchemeMismatch), errors.Is(err, ErrInsecure):
		return "", true
	case errors.As(err, &remote) && remote.Op == "remote error":
		// The type behind these words is not exported.
		text := remote.Err.Error()
		switch {
		case strings.Contains(text, "certificate"):
			return " (the server did not take the client certificate, or misses one: see client_cert and client_key)", true
		case strings.Contains(text, "protocol version"):
			return " (the server does not speak TLS 1.2 or later)", true
		}
	}
	return "", false
}

// refused turns a status into an error, with the server's words scrubbed of
// whatever of ours they repeat.
func (c *Client) refused(r request, resp *http.Response, data []byte) error {
	e := &Error{Op: r.op, Path: r.path, Status: resp.StatusCode, After: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	var body struct {
		Errors   []string
		Warnings []string
	}
	if json.Unmarshal(data, &body) == nil {
		// A 404 explains itself in warnings ("Invalid path for a versioned
		// K/V secrets engine"), which is what the user needs to read.
		e.Messages = c.words(r, append(body.Errors, body.Warnings...))
	}
	if to := resp.Header.Get("Location"); resp.StatusCode/100 == 3 && to != "" {
		e.Messages = []string{"a redirect that is not followed, to " + place(to)}
	}
	e.Kind = kindOf(resp.StatusCode, e.Messages)
	if bytes.Contains(data, []byte("HTTP request to an HTTPS server")) || bytes.Contains(data, []byte("plain HTTP request was sent to HTTPS port")) {
		e.Kind, e.Messages = ErrInsecure, []string{"the server speaks https, and the address says http"}
	}
	return e
}

// words are the server's, without what we sent and each on one line.
func (c *Client) words(r request, messages []string) []string {
	if len(messages) == 0 {
		return nil
	}
	scrub := c.scrubber(r)
	out := make([]string, len(messages))
	for i, m := range messages {
		// What we sent may hold blanks, so it goes before they are folded.
		out[i] = oneLine(scrub.Replace(m))
	}
	return out
}

// place is scheme and host of a URL: the rest may hold what is nobody's business.
func place(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return "another path"
	}
	return u.Scheme + "://" + u.Host
}

// oneLine takes the list form off the server's words: "1 error occurred:" and
// its bullets, over several lines; and whatever a terminal would obey.
func oneLine(m string) string {
	m = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, m)
	m = strings.Join(strings.Fields(m), " ")
	if count, list, ok := strings.Cut(m, " occurred: * "); ok && strings.Contains(count, " error") {
		m = strings.ReplaceAll(list, " * ", "; ")
	}
	return m
}

func kindOf(status int, messages []string) error {
	switch {
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		for _, m := range messages {
			if strings.Contains(m, "invalid token") {
				return ErrInvalidToken
			}
		}
		return ErrDenied
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusPreconditionFailed, status == 472, status == 473:
		return ErrNotReady
	case status == http.StatusTooManyRequests:
		return ErrRateLimited
	case status == http.StatusServiceUnavailable:
		return ErrSealed
	case status == http.StatusNotImplemented:
		return ErrBadRequest
	case status >= 500:
		return ErrServer
	case status >= 300 && status < 400:
		return ErrServer
	}
	return ErrBadRequest
}

// scrubber replaces the token, the values of the extra headers and every longer
// string of the request's body, as they are and as a quotation shows them; but for the
// role of a login, which is no secret, and which a user has to recognize.
func (c *Client) scrubber(r request) *strings.Replacer {
	var sent []string
	add := func(s string) {
		if len(s) >= 6 {
			j, _ := json.Marshal(s)
			q, qj := strconv.Quote(s), strconv.Quote(string(j[1:len(j)-1]))
			sent = append(sent, s, q[1:len(q)-1], string(j[1:len(j)-1]), qj[1:len(qj)-1])
		}
	}
	add(c.token.Reveal())
	for _, values := range c.headers {
		for _, v := range values {
			add(v)
		}
	}
	if p, ok := c.base.User.Password(); ok {
		add(p)
	}
	for key, v := range r.body {
		if key != "role" || r.op != "login" {
			leaves(v, add)
		}
	}
	// One may begin another; the longest is to be replaced.
	slices.SortFunc(sent, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(sent))
	for _, s := range sent {
		pairs = append(pairs, s, "[redacted]")
	}
	return strings.NewReplacer(pairs...)
}

// leaves visits every string in a body.
func leaves(v any, visit func(string)) {
	switch v := v.(type) {
	case string:
		visit(v)
	case map[string]any:
		for _, e := range v {
			leaves(e, visit)
		}
	case []any:
		for _, e := range v {
			leaves(e, visit)
		}
	}
}

// retryAfter reads seconds or a date; anything else is no wish at all. It is
// capped, so that a server cannot put a client to sleep for a day.
func retryAfter(v string, now time.Time) time.Duration {
	const most = 5 * time.Minute
	if v == "" {
		return 0
	}
	var d time.Duration
	if n, err := strconv.Atoi(strings.TrimSpace(v)); err == nil {
		d = time.Duration(min(n, int(most/time.Second))) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), most)
}
