package main

import (
	"context"
	"fmt"
	"runtime"
)

// version is stamped by the build (-ldflags "-X main.version=...").
var version = "dev"

func runVersion(_ context.Context, w world, _ given, _ []string) int {
	fmt.Fprintf(w.stdout, "latchkey %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitDone
}
