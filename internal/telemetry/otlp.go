package telemetry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/retry"
)

const (
	// otlpPath is where a collector takes metrics, where the URL has no path.
	otlpPath = "/v1/metrics"
	// exportTimeout bounds one push; minInterval is how often at most there is one.
	exportTimeout = 10 * time.Second
	minInterval   = time.Second
	// maxRetryAfter bounds what a collector may ask for.
	maxRetryAfter = time.Hour
)

// exporter pushes the whole store to an OpenTelemetry collector, as OTLP's JSON
// over HTTP. Values are cumulative, so that a push that fails loses no count: the
// next one has it.
type exporter struct {
	url      string
	where    string // the URL's scheme and host, for the log
	headers  config.Headers
	interval time.Duration
	resource []attribute
	log      *slog.Logger
	version  string
	client   *http.Client
	failing  bool
}

// newExporter is nil when no endpoint is configured.
func newExporter(p *pipe) (*exporter, error) {
	c := p.c.OTLP
	if c.Endpoint == "" {
		return nil, nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		// The URL may have a password in it, so it is not repeated.
		return nil, p.problem("otlp_endpoint", "is no URL", "http(s)://host:port; 4318 is the usual port for OTLP over HTTP")
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = otlpPath
	}
	for name, value := range c.Headers {
		if !validHeader(name, value) {
			return nil, p.problem("otlp_headers", fmt.Sprintf("%q cannot be a header", name), "")
		}
	}
	e := &exporter{
		url: u.String(), where: u.Scheme + "://" + u.Host, headers: c.Headers,
		interval: max(cmp.Or(c.Interval, time.Minute), minInterval), log: p.o.Log, version: p.o.Version,
		client: &http.Client{
			// No proxy: the environment is not read here. No redirect: the
			// headers may be secrets and go to one address only.
			Transport: &http.Transport{ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: 2 * time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
	}
	e.resource = attributes("service.name", "latchkey", "service.version", p.o.Version, "host.name", p.o.Host, "cluster", p.o.Cluster)
	return e, nil
}

// validHeader says whether a header can be sent: a token for a name, and a value
// that ends no line.
func validHeader(name, value string) bool {
	token := func(r rune) bool {
		return r > ' ' && r < 0x7f && !strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}
	text := func(r rune) bool { return r == '\t' || r >= ' ' && r != 0x7f }
	return name != "" && strings.IndexFunc(name, func(r rune) bool { return !token(r) }) < 0 &&
		strings.IndexFunc(value, func(r rune) bool { return !text(r) }) < 0
}

// run pushes once in each interval until ctx ends, and then a last time within
// lastWords.
func (e *exporter) run(ctx context.Context, s *store) {
	defer e.client.CloseIdleConnections()
	next := time.Now().Add(e.interval)
	for retry.Until(ctx, next, nil) != retry.Ended {
		next = time.Now().Add(e.interval)
		after, err := e.push(ctx, s)
		if ctx.Err() != nil {
			break
		}
		e.tell(err)
		if at := time.Now().Add(after); at.After(next) {
			next = at
		}
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if _, err := e.push(end, s); err != nil {
		e.log.Debug("the last metrics could not be sent", "to", e.where, "error", err)
	}
}

// tell logs the beginning and the end of an outage.
func (e *exporter) tell(err error) {
	switch {
	case err != nil && !e.failing:
		e.log.Warn("metrics cannot be sent", "to", e.where, "error", err)
	case err == nil && e.failing:
		e.log.Info("metrics are sent again", "to", e.where)
	}
	e.failing = err != nil
}

// push sends the store once. after is how long the collector wants to be left
// alone.
func (e *exporter) push(ctx context.Context, s *store) (after time.Duration, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, exportTimeout, fmt.Errorf("no answer within %s", exportTimeout))
	defer cancel()
	body, err := json.Marshal(e.encode(s.snapshot(), time.Now()))
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("the request cannot be made")
	}
	for name, value := range e.headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "latchkey/"+e.version)
	resp, err := e.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL may hold a password
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return retryAfter(resp.Header.Get("Retry-After"), time.Now()), fmt.Errorf("the answer is %s", resp.Status)
	}
	return 0, rejected(text)
}

// retryAfter reads the header, seconds or a date, within bounds.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// rejected is what a collector says that took a push in part only.
func rejected(body []byte) error {
	var answer struct {
		PartialSuccess struct {
			RejectedDataPoints json.Number `json:"rejectedDataPoints"`
			ErrorMessage       string      `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return nil // a collector may answer with nothing, or in another encoding
	}
	if n := answer.PartialSuccess.RejectedDataPoints; n != "" && n != "0" {
		return fmt.Errorf("%s data points were rejected: %s", n, answer.PartialSuccess.ErrorMessage)
	}
	return nil
}
