package extension

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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

// runtimeAPI is the platform. What it says is small, and it is on this machine.
type runtimeAPI struct {
	base, name, id string
	client         *http.Client
}

func newRuntimeAPI(address, name string) *runtimeAPI {
	return &runtimeAPI{
		base: "http://" + address + apiVersion, name: name,
		// No timeout of any kind: next waits for as long as nobody invokes the function,
		// and a proxy of the environment is not for a platform that is here.
		client: &http.Client{Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, DisableCompression: true,
			ForceAttemptHTTP2: false, MaxIdleConnsPerHost: 1,
		}},
	}
}

// register makes us known, under the name of our file, and asks for these events.
func (a *runtimeAPI) register(ctx context.Context, events ...string) error {
	body, err := json.Marshal(map[string][]string{"events": events})
	if err != nil {
		return err
	}
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

func (a *runtimeAPI) do(ctx context.Context, method, path string, body []byte, headers ...string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return reply{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return reply{}, err
	}
	if resp.StatusCode/100 == 2 {
		return reply{resp.Header, data}, nil
	}
	return reply{}, refusal(resp.Status, data)
}

// refusal is the platform's own word for what is wrong.
func refusal(status string, data []byte) error {
	var said struct{ ErrorType, ErrorMessage string }
	if json.Unmarshal(data, &said) != nil || said.ErrorType == "" {
		return errors.New("the platform answered " + status)
	}
	return errors.New("the platform answered " + status + ": " + strings.TrimSpace(said.ErrorType+" "+said.ErrorMessage))
}
