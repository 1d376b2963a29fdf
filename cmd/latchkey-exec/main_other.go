//go:build !linux

package main

import "os"

func main() {
	_, _ = os.Stderr.WriteString("latchkey-exec: starts programs on Linux alone\n")
	os.Exit(125)
}
