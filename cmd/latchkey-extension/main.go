// How many processors there may be is said in main, and need not be read out of files.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command latchkey-extension is the extension of a Lambda function that is told
// everything by environment variables. It carries neither templates nor
// configuration files: cmd/latchkey, in the same place, does all of that.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"latchkey/extension"
	"latchkey/internal/config"
	"latchkey/internal/execwrap"
	"latchkey/internal/lambdaenv"
	"latchkey/internal/methods"
	_ "latchkey/internal/onecore" // the first thing that happens
)

// version is set when the program is built.
var version = "dev"

func main() {
	// /opt/latchkey-exec of the small layer is one line, "#!" and this program with
	// this word, so that the layer does not carry a second Go runtime.
	if len(os.Args) > 2 && os.Args[1] == "exec" {
		os.Exit(execwrap.Become(os.Args[3:], os.Environ()))
	}
	roomy()
	os.Exit(run(os.Args[0], os.Environ(), os.Stderr))
}

// roomy makes the stack grow once, while there is nothing on it to be moved. A start
// would do that step by step, and spend a twentieth of its time on it.
//
//go:noinline
func roomy() {
	var room [32 << 10]byte
	runtime.KeepAlive(&room)
}

// run is main, given the outside world.
func run(path string, environ []string, stderr io.Writer) int {
	s, err := lambdaenv.Read(environ)
	if err == nil && s.Config != "" {
		err = &config.Problem{
			Key: "LATCHKEY_CONFIG", Text: "this is the small extension, which reads no configuration file",
			Hint: "use the layer latchkey-extension-full",
		}
	}
	w := extension.World{
		Path: path, Environ: environ, Method: methods.Lambda(environ).Lookup, Version: version,
		Log: extension.LoggerFor(stderr, s),
	}
	job := extension.Prepare(w, s, err)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	job.Started = func() {
		runtime.GOMAXPROCS(processors(os.Getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")))
		// Until here a signal ends the process, which has nothing to tidy up.
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, syscall.SIGTERM, syscall.SIGINT)
		go func() { <-ch; stop() }()
	}
	if extension.Start(ctx, job) != nil {
		return 1 // told to the platform and to the log
	}
	return 0
}

// vcpu is the memory, in MB, with which a function is given one processor.
const vcpu = 1769

// processors is how many a function of this much memory, in MB, has.
func processors(memory string) int {
	mb, err := strconv.Atoi(memory)
	if err != nil {
		return 1
	}
	return max(1, min((mb+vcpu-1)/vcpu, runtime.NumCPU()))
}
