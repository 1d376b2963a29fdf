// Command latchkey-extension is the extension of a Lambda function that is told
// everything by environment variables. It carries neither templates nor
// configuration files: cmd/latchkey, in the same place, does all of that.
package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"latchkey/extension"
	"latchkey/internal/config"
	"latchkey/internal/lambdaenv"
	"latchkey/internal/methods"
)

// version is set when the program is built.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := run(ctx, os.Args[0], os.Environ(), os.Stderr)
	stop()
	os.Exit(code)
}

// run is main, given the outside world.
func run(ctx context.Context, path string, environ []string, stderr io.Writer) int {
	s, err := lambdaenv.Read(environ)
	if err == nil && s.Config != "" {
		err = &config.Problem{
			Key: "LATCHKEY_CONFIG", Text: "this is the small extension, which reads no configuration file",
			Hint: "use the layer latchkey-extension-full",
		}
	}
	level, asJSON := slog.LevelInfo, false
	if s != nil {
		level, asJSON = s.LogLevel, s.LogJSON
	}
	w := extension.World{
		Path: path, Environ: environ, Method: methods.Lambda(environ).Lookup, Version: version,
		Log: extension.NewLogger(stderr, level, asJSON),
	}
	if extension.Run(ctx, extension.Prepare(w, s, err)) != nil {
		return 1 // told to the platform and to the log
	}
	return 0
}
