package extension

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The Extensions API of Lambda, as
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html has it.
const (
	apiVersion   = "/2020-01-01/extension/"
	headerName   = "Lambda-Extension-Name"
	headerID     = "Lambda-Extension-Identifier"
	headerReason = "Lambda-Extension-Function-Error-Type"
)

// The kinds of event.
const (
	eventInvoke   = "INVOKE"
	eventShutdown = "SHUTDOWN"
)

// event is what the platform tells.
type event struct {
	Type string `json:"eventType"`
	// Deadline is in milliseconds since 1970.
	Deadline int64 `json:"deadlineMs"`
	// Reason is why it is a SHUTDOWN: spindown, timeout, failure; the emulator knows
	// others.
	Reason string `json:"shutdownReason"`
}

// deadline is the moment by which what the event is about is over.
func (e event) deadline() time.Time { return time.UnixMilli(e.Deadline) }

// runtimeAPI is the platform, over one connection: what is asked is asked one after
// the other. net/http's client would do, and would take a tenth of a start's time
// to be set up.
type runtimeAPI struct {
	address, name, id string

	conn net.Conn // nil before the first call and after a failure
	r    *bufio.Reader
}

func newRuntimeAPI(address, name string) *runtimeAPI {
	return &runtimeAPI{address: address, name: name}
}

// register makes us known, under the name of our file, and asks for these events.
func (a *runtimeAPI) register(ctx context.Context, events ...string) error {
	body := []byte(`{"events":["` + strings.Join(events, `","`) + `"]}`)
	resp, err := a.do(ctx, http.MethodPost, "register", body, headerName, a.name)
	if err != nil {
		return fmt.Errorf("register the extension %q: %w", a.name, err)
	}
	if a.id = resp.header.Get(headerID); a.id == "" {
		return fmt.Errorf("register the extension %q: the platform gave no %s", a.name, headerID)
	}
	return nil
}

// next says that we are done, and waits for the next event. The process is frozen
// while it waits.
func (a *runtimeAPI) next(ctx context.Context) (e event, err error) {
	resp, err := a.do(ctx, http.MethodGet, "event/next", nil, headerID, a.id)
	if err == nil {
		err = json.Unmarshal(resp.body, &e)
	}
	if err != nil {
		return e, fmt.Errorf("ask for the next event: %w", err)
	}
	return e, nil
}

// The moments at which the platform hears of a failure.
const (
	atInit = "init/error"
	atExit = "exit/error"
)

// fail tells the platform, and so whoever invokes the function, why we end.
func (a *runtimeAPI) fail(ctx context.Context, when, kind, message string) error {
	body, err := json.Marshal(struct {
		Message string   `json:"errorMessage"`
		Type    string   `json:"errorType"`
		Trace   []string `json:"stackTrace"`
	}{message, kind, []string{}})
	if err != nil {
		return err
	}
	if _, err = a.do(ctx, http.MethodPost, when, body, headerID, a.id, headerReason, kind); err != nil {
		return fmt.Errorf("report %s to the platform: %w", kind, err)
	}
	return nil
}

// reply is what the platform answers.
type reply struct {
	header http.Header
	body   []byte
}

// maxReply bounds what is read of an answer.
const maxReply = 1 << 20

// do asks, and waits for as long as ctx lasts: next waits until somebody invokes the
// function. headers are names and values, none of which anybody else chose.
func (a *runtimeAPI) do(ctx context.Context, method, path string, body []byte, headers ...string) (reply, error) {
	used := a.conn != nil
	resp, err := a.once(ctx, method, path, body, headers)
	if _, silent := err.(unanswered); silent && used && ctx.Err() == nil {
		// A connection that was used before may have been closed since.
		resp, err = a.once(ctx, method, path, body, headers)
	}
	return resp, err
}

// once asks once.
func (a *runtimeAPI) once(ctx context.Context, method, path string, body []byte, headers []string) (reply, error) {
	if a.conn == nil {
		d := net.Dialer{Timeout: platformWait}
		conn, err := d.DialContext(ctx, "tcp", a.address)
		if err != nil {
			return reply{}, err
		}
		a.conn, a.r = conn, bufio.NewReader(conn)
	}
	conn := a.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	resp, err := a.exchange(method, path, body, headers)
	if _, answered := err.(refused); err != nil && !answered {
		_ = conn.Close()
		a.conn = nil
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	return resp, err
}

// unanswered is that not a byte of an answer came.
type unanswered struct{ error }

func (u unanswered) Unwrap() error { return u.error }

// exchange sends a request and reads its answer.
func (a *runtimeAPI) exchange(method, path string, body []byte, headers []string) (reply, error) {
	msg := make([]byte, 0, 512+len(body))
	msg = append(msg, method+" "+apiVersion+path+" HTTP/1.1\r\nHost: "+a.address+"\r\n"...)
	for i := 0; i < len(headers); i += 2 {
		msg = append(msg, headers[i]+": "+headers[i+1]+"\r\n"...)
	}
	if body != nil {
		msg = append(msg, "Content-Type: application/json\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n"...)
	}
	msg = append(append(msg, "\r\n"...), body...)
	if _, err := a.conn.Write(msg); err != nil {
		return reply{}, unanswered{err}
	}
	if _, err := a.r.Peek(1); err != nil {
		return reply{}, unanswered{err}
	}
	resp, err := http.ReadResponse(a.r, nil)
	if err != nil {
		return reply{}, err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return reply{}, err
	case len(data) > maxReply:
		return reply{}, errors.New("the platform's answer is too large")
	case resp.Close:
		_ = a.conn.Close()
		a.conn = nil
	}
	if resp.StatusCode/100 == 2 {
		return reply{resp.Header, data}, nil
	}
	return reply{}, refused{refusal(resp.Status, data)}
}

// refused is an answer, and leaves the connection as it is.
type refused struct{ error }

// refusal is the platform's own word for what is wrong.
func refusal(status string, data []byte) error {
	var said struct{ ErrorType, ErrorMessage string }
	if json.Unmarshal(data, &said) != nil || said.ErrorType == "" {
		return errors.New("the platform answered " + status)
	}
	return errors.New("the platform answered " + status + ": " + strings.TrimSpace(said.ErrorType+" "+said.ErrorMessage))
}
