// Command bare is the least an HTTP server in Go can be: it answers each path
// that a file names with the status, the headers and the body that the file has
// for it. It is what a hit of the proxy's cache is compared with.
//
// GET /mallocs gives the objects that it has allocated so far.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime"
)

var (
	address = flag.String("address", "127.0.0.1:0", "host:port to listen on")
	answers = flag.String("answers", "", "JSON file: from path to status, header and body")
)

func main() {
	flag.Parse()
	fmt.Fprintln(os.Stderr, run())
	os.Exit(1)
}

func run() error {
	text, err := os.ReadFile(*answers)
	if err != nil {
		return err
	}
	var by map[string]struct {
		Status int
		Header http.Header
		Body   []byte
	}
	if err := json.Unmarshal(text, &by); err != nil {
		return err
	}
	return http.ListenAndServe(*address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := by[r.URL.Path]
		switch {
		case r.URL.Path == "/mallocs":
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Fprint(w, m.Mallocs)
			return
		case !ok:
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		for name, values := range a.Header {
			h[name] = values
		}
		w.WriteHeader(a.Status)
		_, _ = w.Write(a.Body)
	}))
}
