package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience is how long Fetch waits where its context has no deadline of its own.
const patience = 5 * time.Second

// maxAnswer bounds what Fetch reads; a full status is well below it.
const maxAnswer = 16 << 20

// ErrNobody is in the error of Fetch when no daemon listens at the address.
var ErrNobody = errors.New("nobody answers")

// Fetch asks a daemon for its status. The address is unix:///path, the path of a
// socket, http://host:port or https://host:port (which the system must trust). It
// waits at most five seconds where ctx has no deadline. Its error says what was
// asked and, where one helps, what to look at; errors.Is finds ErrNobody when no
// daemon is there.
func Fetch(ctx context.Context, address string) (Status, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within %s", patience))
		defer cancel()
	}
	s, err := fetch(ctx, address)
	if err != nil {
		return Status{}, fmt.Errorf("status from %s: %w", address, err)
	}
	return s, nil
}

func fetch(ctx context.Context, address string) (Status, error) {
	base, socket, err := target(address)
	if err != nil {
		return Status{}, err
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSHandshakeTimeout: patience}
	if socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+pathStatus, nil)
	if err != nil {
		return Status{}, err
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a daemon redirects nobody
	}}
	resp, err := client.Do(req)
	if err != nil {
		return Status{}, explain(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	return decode(ctx, resp)
}

// target splits an address into the URL to ask and the socket to ask through.
func target(address string) (base, socket string, err error) {
	if filepath.IsAbs(address) {
		return "http://localhost", address, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", "", errors.New("this is no address (unix:///path or http://host:port)")
	}
	switch {
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		return "http://localhost", u.Path, nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return u.Scheme + "://" + u.Host, "", nil
	}
	return "", "", errors.New("the address must be unix:///path or http://host:port")
}

// explain says what the failures of a connection mean here.
func explain(ctx context.Context, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the URL, which the address says better
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no such socket; is the daemon running, with this status_socket?", ErrNobody)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: %w; is the daemon running?", ErrNobody, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; the socket's owner and mode decide who may ask", err)
	}
	return err
}

func decode(ctx context.Context, resp *http.Response) (Status, error) {
	var s Status
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return s, explain(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("the answer is %s; this is not the status address of a latchkey daemon", resp.Status)
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return Status{}, errors.New("the answer is no status; is this the address of a latchkey daemon?")
	}
	return s, nil
}
