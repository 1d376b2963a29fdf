// A Lambda function that does what its event says (see the package task), so
// that a test can see through a function's eyes.
package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"latchkey/internal/lambdatest/task"
)

// atInit is what was in place when the function's own code began to run: a
// package's variables are static code, before main.
var atInit = readAll(os.Getenv("LAMBDATEST_INIT_READ"))

func main() {
	if err := staticTask(os.Getenv("LAMBDATEST_INIT")); err != nil {
		panic(err)
	}
	lambda.Start(do)
}

// staticTask does at init what a function's static code may do: what is one of
// the words of LAMBDATEST_INIT.
func staticTask(what string) error {
	kind, value, _ := strings.Cut(what, "=")
	switch kind {
	case "get":
		a := get(context.Background(), task.Task{URL: value})
		atInit["get"] = a
	case "exit":
		code, _ := strconv.Atoi(value)
		os.Exit(code)
	case "sleep":
		ms, _ := strconv.Atoi(value)
		time.Sleep(time.Duration(ms) * time.Millisecond)
	case "restore":
		return restore()
	}
	return nil
}

// restore says that init is over and waits for the restore, as the runtimes do
// that know hooks for SnapStart.
func restore() error {
	r, err := http.Get("http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/restore/next")
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	if r.StatusCode != http.StatusOK {
		return errors.New("restore/next: " + r.Status)
	}
	return nil
}

func do(ctx context.Context, t task.Task) (task.Answer, error) {
	a := task.Answer{}
	switch t.Do {
	case "read":
		a = read(t.Path)
	case "get":
		a = get(ctx, t)
	case "env":
		a.Env = map[string]string{}
		for _, e := range os.Environ() {
			name, value, _ := strings.Cut(e, "=")
			a.Env[name] = value
		}
	case "init":
		a.Files = atInit
	case "sleep":
		time.Sleep(time.Duration(t.MS) * time.Millisecond)
	case "hang":
		select {}
	case "fail":
		return a, errors.New(t.Text)
	case "panic":
		panic(t.Text)
	case "exit":
		os.Exit(t.Code)
	case "many":
		for _, one := range t.Tasks {
			b, err := do(ctx, one)
			if err != nil {
				return a, err
			}
			a.Answers = append(a.Answers, b)
		}
	default:
		a.Text = t.Text
	}
	a.PID = os.Getpid()
	return a, nil
}

func readAll(paths string) map[string]task.Answer {
	all := map[string]task.Answer{}
	for _, p := range strings.Split(paths, ":") {
		if p != "" {
			all[p] = read(p)
		}
	}
	return all
}

func read(path string) task.Answer {
	content, err := os.ReadFile(path)
	if err != nil {
		return task.Answer{Error: err.Error()}
	}
	info, err := os.Stat(path)
	if err != nil {
		return task.Answer{Error: err.Error()}
	}
	return task.Answer{
		Text: string(content), Modified: info.ModTime().UnixNano(),
		Mode: "0" + strconv.FormatUint(uint64(info.Mode()&fs.ModePerm), 8),
	}
}

// client has a connection for each that asks at once.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}

func get(ctx context.Context, t task.Task) task.Answer {
	answer := task.Answer{Statuses: map[int]int{}}
	left := make(chan struct{}, max(t.Times, 1))
	for range max(t.Times, 1) {
		left <- struct{}{}
	}
	close(left)
	var mu sync.Mutex
	var all sync.WaitGroup
	for range max(t.Parallel, 1) {
		all.Go(func() {
			for range left {
				began := time.Now()
				one := getOnce(ctx, t)
				took := float64(time.Since(began)) / float64(time.Millisecond)
				mu.Lock()
				answer.Statuses[one.Status]++
				answer.Longest = max(answer.Longest, took)
				answer.Status, answer.Text, answer.Header = one.Status, one.Text, one.Header
				if one.Error != "" {
					answer.Error = one.Error
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return answer
}

func getOnce(ctx context.Context, t task.Task) task.Answer {
	method := t.Method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, t.URL, strings.NewReader(t.Body))
	if err != nil {
		return task.Answer{Error: err.Error()}
	}
	for name, value := range t.Header {
		req.Header.Set(name, value)
	}
	r, err := client.Do(req)
	if err != nil {
		return task.Answer{Error: err.Error()}
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return task.Answer{Status: r.StatusCode, Error: err.Error()}
	}
	return task.Answer{Status: r.StatusCode, Text: string(body), Header: r.Header}
}
