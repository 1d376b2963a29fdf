//go:build linux

package lambdatest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// The test binary is three programs: the tests; an extension when its file name
// begins with "ext"; and a runtime when it is "bootstrap". The two do what a
// script says, word by word, and say what came of it.
func TestMain(m *testing.M) {
	name := filepath.Base(os.Args[0])
	switch {
	case strings.HasPrefix(name, "ext"):
		os.Exit((&bare{api: os.Getenv("AWS_LAMBDA_RUNTIME_API"), name: name}).run(script(name)))
	case name == "bootstrap":
		os.Exit((&bare{api: os.Getenv("AWS_LAMBDA_RUNTIME_API"), name: name}).run(script("RUNTIME")))
	case name == "wrapper":
		fmt.Println("wrapped", filepath.Base(os.Args[1]))
		_ = syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// script is what SCRIPT_<name> says, else the usual life.
func script(name string) string {
	if s, ok := os.LookupEnv("SCRIPT_" + strings.ReplaceAll(name, "-", "_")); ok {
		return s
	}
	if name == "RUNTIME" {
		return "serve"
	}
	return "register=INVOKE,SHUTDOWN loop"
}

type bare struct {
	api, name, id string
	event         string // the newest
	request       string // its id
}

func (b *bare) run(script string) int {
	// An extension is never sent SIGTERM; the runtime is, and says so.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		for range signals {
			fmt.Println("SIGTERM")
			if !strings.Contains(script, "stubborn") {
				os.Exit(0)
			}
		}
	}()
	for _, word := range strings.Fields(script) {
		verb, arg, _ := strings.Cut(word, "=")
		if code, over := b.do(verb, arg); over {
			return code
		}
	}
	return 0
}

func (b *bare) do(verb, arg string) (code int, over bool) {
	switch verb {
	case "name":
		b.name = arg
	case "id":
		b.id = arg
	case "register":
		events, _ := json.Marshal(map[string]any{"events": strings.FieldsFunc(arg, func(r rune) bool { return r == ',' })})
		b.ask("register", "POST", "/2020-01-01/extension/register", string(events))
	case "body":
		b.ask("register", "POST", "/2020-01-01/extension/register", arg)
	case "next":
		b.ask("next", "GET", "/2020-01-01/extension/event/next", "")
	case "twice": // two at once: one of them is refused
		answers := make(chan int, 2)
		for range 2 {
			go func() {
				answers <- (&bare{api: b.api, id: b.id}).ask("next", "GET", "/2020-01-01/extension/event/next", "")
			}()
		}
		fmt.Println("twice:", <-answers)
		<-answers
	case "loop":
		for b.event = ""; b.event != "SHUTDOWN"; {
			if b.ask("next", "GET", "/2020-01-01/extension/event/next", "") != http.StatusOK {
				return 3, true
			}
		}
	case "initerror", "exiterror":
		b.ask(verb+"~"+arg, "POST", "/2020-01-01/extension/"+strings.TrimSuffix(verb, "error")+"/error", `{"errorMessage":"it is so"}`)
	case "runtimeiniterror":
		b.ask("runtime", "POST", "/2018-06-01/runtime/init/error", `{"errorMessage":"no handler"}`)
	case "invocation":
		b.ask("invocation", "GET", "/2018-06-01/runtime/invocation/next", "")
	case "restore":
		b.ask("restore", "GET", "/2018-06-01/runtime/restore/next", "")
	case "respond":
		id := b.request
		if arg != "" {
			id = arg
		}
		b.ask("respond", "POST", "/2018-06-01/runtime/invocation/"+id+"/response", `"done"`)
	case "serve":
		for b.ask("invocation", "GET", "/2018-06-01/runtime/invocation/next", "") == http.StatusOK {
			b.ask("respond", "POST", "/2018-06-01/runtime/invocation/"+b.request+"/response", `"done"`)
		}
		return 4, true
	case "big":
		b.ask("respond", "POST", "/2018-06-01/runtime/invocation/"+b.request+"/response", strings.Repeat("x", maxPayload+1))
	case "put":
		b.ask("put", "PUT", arg, "{}")
	case "credentials":
		b.ask("credentials", "GET", "/2021-04-23/credentials", "")
	case "env":
		names := []string{}
		for _, e := range os.Environ() {
			n, _, _ := strings.Cut(e, "=")
			names = append(names, n)
		}
		fmt.Println("env", strings.Join(names, " "))
	case "say":
		fmt.Println(arg)
	case "keep": // something in /tmp
		_ = os.WriteFile(os.Getenv("KEEP"), []byte("kept"), 0o600)
	case "kept":
		_, err := os.Stat(os.Getenv("KEEP"))
		fmt.Println("kept:", err == nil)
	case "child": // leaves a process behind in its group
		p, err := os.StartProcess("/bin/sleep", []string{"sleep", "600"}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
		if err == nil {
			fmt.Println("child", p.Pid)
		}
	case "hang":
		select {}
	case "exit":
		code, _ = strconv.Atoi(arg)
		return code, true
	}
	return 0, false
}

// ask makes a call and says what it was answered: status, and the type of an
// error or the event.
func (b *bare) ask(what, method, path, body string) int {
	req, err := http.NewRequest(method, "http://"+b.api+path, bytes.NewReader([]byte(body)))
	if err != nil {
		panic(err)
	}
	what, arg, _ := strings.Cut(what, "~")
	switch what {
	case "register":
		req.Header.Set("Lambda-Extension-Name", b.name)
		req.Header.Set("Lambda-Extension-Accept-Feature", "other, accountId")
		if b.name == "-" {
			req.Header.Del("Lambda-Extension-Name")
		}
	case "initerror", "exiterror":
		req.Header.Set("Lambda-Extension-Function-Error-Type", arg)
		req.Header.Set("Lambda-Extension-Identifier", b.id)
	case "next":
		req.Header.Set("Lambda-Extension-Identifier", b.id)
	case "credentials":
		req.Header.Set("Authorization", os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Println(what, "no answer")
		return 0
	}
	defer func() { _ = r.Body.Close() }()
	text, _ := io.ReadAll(r.Body)
	var told struct {
		EventType, ErrorType, ErrorMessage, AccountID, ShutdownReason, AccessKeyID string
		DeadlineMs                                                                 int64
	}
	_ = json.Unmarshal(text, &told)
	switch what {
	case "register":
		b.id = r.Header.Get("Lambda-Extension-Identifier")
	case "invocation":
		b.request = r.Header.Get("Lambda-Runtime-Aws-Request-Id")
	}
	b.event = told.EventType
	fmt.Println(strings.TrimSpace(strings.Join([]string{
		what, strconv.Itoa(r.StatusCode), told.ErrorType, told.EventType, told.ShutdownReason, told.AccountID, told.AccessKeyID, told.ErrorMessage,
	}, " ")))
	return r.StatusCode
}
