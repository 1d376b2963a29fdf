//go:build linux

package lambdatest

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// clockProgram says at each INVOKE what time it is: the wall clock, and how much
// the monotonic clock says went by since the start.
const clockProgram = `package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	began := time.Now()
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2020-01-01/extension/"
	req, _ := http.NewRequest("POST", base+"register", bytes.NewReader([]byte("{\"events\":[\"INVOKE\"]}")))
	req.Header.Set("Lambda-Extension-Name", "clock")
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(err)
	}
	id := r.Header.Get("Lambda-Extension-Identifier")
	for {
		next, _ := http.NewRequest("GET", base+"event/next", nil)
		next.Header.Set("Lambda-Extension-Identifier", id)
		r, err := http.DefaultClient.Do(next)
		if err != nil {
			panic(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		now := time.Now()
		fmt.Println(now.Unix(), int64(time.Since(began).Seconds()), int64(now.Round(0).Sub(began.Round(0)).Seconds()))
	}
}
`

func TestAnHourPassesWhileFrozen(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the standard library")
	}
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"clock/main.go": clockProgram, "go.mod": "module clock\n\ngo 1.26\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := BuildSkewed(dir, "./clock", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := run(t, Options{Extension: binary, Name: "clock"}, "", "")
	for _, skew := range []time.Duration{0, time.Hour, -24 * time.Hour} {
		if err := p.Skew("clock", skew); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		if _, err := p.Invoke(nil); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(p.Logs("clock")), "\n")
		words := strings.Fields(lines[len(lines)-1])
		wall, _ := strconv.ParseInt(words[0], 10, 64)
		if off := time.Unix(wall, 0).Sub(before.Add(skew)); off < -2*time.Second || off > 10*time.Second {
			t.Errorf("with %s, the program's time is off by %s", skew, off)
		}
		if elapsed, _ := strconv.Atoi(words[1]); elapsed > 60 {
			t.Errorf("the monotonic clock moved: %d s", elapsed)
		}
		if elapsed, _ := strconv.Atoi(words[2]); time.Duration(elapsed)*time.Second < skew-time.Second {
			t.Errorf("the wall clock did not move: %d s", elapsed)
		}
	}
	plain := run(t, Options{}, "", "")
	if err := plain.Skew("ext", time.Hour); !errors.Is(err, ErrNoSkew) {
		t.Errorf("a program that cannot: %v", err)
	}
}
