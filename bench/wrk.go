package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// shot is what one run of wrk measured.
type shot struct {
	requests      int
	perSecond     float64
	p50, p90, p99 time.Duration
	// bad counts answers that were no 2xx or 3xx, and what sockets failed at.
	bad int
	// cpu is what the program that answers took meanwhile, 0 where nobody looked.
	cpu time.Duration
}

// aim is what wrk asks for.
type aim struct {
	url    string
	header []string // more than every client's, "Name: value"
	script string   // of Lua, a file; "" for none
	args   []string // of the script
}

// clientHeader is what Vault's own client sends with each request.
var clientHeader = []string{"User-Agent: Go-http-client/1.1", "X-Vault-Request: true", "Accept-Encoding: gzip"}

// shoot runs wrk.
func (t *tools) shoot(ctx context.Context, a aim, length time.Duration) (shot, error) {
	args := []string{
		"--latency", "--timeout", "10s", "-t", strconv.Itoa(*threads), "-c", strconv.Itoa(*connections),
		"-d", strconv.Itoa(max(1, int(length.Seconds()))) + "s",
	}
	for _, h := range slices.Concat(clientHeader, a.header) {
		args = append(args, "-H", h)
	}
	if a.script != "" {
		args = append(args, "-s", a.script)
	}
	args = append(append(args, a.url), a.args...)
	found, err := t.debian.Command("wrk", args...)
	if err != nil {
		return shot{}, err
	}
	cmd := exec.CommandContext(ctx, found.Path, args...)
	cmd.Env = found.Env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return shot{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	return parseWrk(out)
}

var (
	wrkPercentile = regexp.MustCompile(`^(50|90|99)%\s+([0-9.]+)(us|ms|s|m)$`)
	wrkRequests   = regexp.MustCompile(`^(\d+) requests in `)
	wrkErrors     = regexp.MustCompile(`^Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)$`)
	wrkStatus     = regexp.MustCompile(`^Non-2xx or 3xx responses: (\d+)$`)
	wrkRate       = regexp.MustCompile(`^Requests/sec:\s+([0-9.]+)$`)
)

// parseWrk reads what wrk --latency prints. What it does not say is an error,
// but for the lines about failures, which it prints only where there are some.
func parseWrk(out []byte) (shot, error) {
	var s shot
	var errs []error
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		errs = append(errs, err)
		return n
	}
	var counted, rated bool
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if m := wrkPercentile.FindStringSubmatch(line); m != nil {
			d, err := time.ParseDuration(m[2] + m[3])
			errs = append(errs, err)
			*map[string]*time.Duration{"50": &s.p50, "90": &s.p90, "99": &s.p99}[m[1]] = d
		}
		if m := wrkRequests.FindStringSubmatch(line); m != nil {
			s.requests, counted = number(m[1]), true
		}
		if m := wrkErrors.FindStringSubmatch(line); m != nil {
			for _, n := range m[1:] {
				s.bad += number(n)
			}
		}
		if m := wrkStatus.FindStringSubmatch(line); m != nil {
			s.bad += number(m[1])
		}
		if m := wrkRate.FindStringSubmatch(line); m != nil {
			rate, err := strconv.ParseFloat(m[1], 64)
			errs = append(errs, err)
			s.perSecond, rated = rate, true
		}
	}
	if err := errors.Join(errs...); err != nil {
		return shot{}, fmt.Errorf("read what wrk says: %w\n%s", err, out)
	}
	if !counted || !rated || s.requests == 0 || s.p50 == 0 || s.p90 == 0 || s.p99 == 0 {
		return shot{}, fmt.Errorf("wrk does not say all that is asked of it\n%s", out)
	}
	return s, nil
}

// spread is a script that asks for the secrets of a prefix, in no order. It
// writes each request by itself, which costs less than wrk.format.
const spread = `
local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("seed", threads)
end
function init(args)
  math.randomseed(seed)
  count, start, rest = tonumber(args[2]), "GET " .. args[1], " HTTP/1.1\r\n"
  for name, value in pairs(wrk.headers) do
    rest = rest .. name .. ": " .. value .. "\r\n"
  end
  rest = rest .. "\r\n"
end
function request()
  return start .. string.format("%06d", math.random(0, count - 1)) .. rest
end
`

// spreading aims at count secrets, whose paths are prefix and six digits.
func (t *tools) spreading(url, prefix string, count int) (aim, error) {
	script := filepath.Join(t.work, "spread.lua")
	return aim{url: url, script: script, args: []string{prefix, strconv.Itoa(count)}}, os.WriteFile(script, []byte(spread), 0o600)
}

// posting aims at path with a body.
func (t *tools) posting(url, body string) (aim, error) {
	script := filepath.Join(t.work, "post.lua")
	text := fmt.Sprintf("wrk.method = \"POST\"\nwrk.body = %q\n", body)
	return aim{url: url, script: script}, os.WriteFile(script, []byte(text), 0o600)
}
