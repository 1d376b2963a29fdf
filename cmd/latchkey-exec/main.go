// Command latchkey-exec becomes the program that its arguments name, with the
// environment that the extension makes for it; see internal/execwrap. AWS Lambda
// starts it before a function's runtime where AWS_LAMBDA_EXEC_WRAPPER names it.
package main

import (
	"os"

	"latchkey/internal/execwrap"
)

func main() { os.Exit(execwrap.Become(os.Args[1:], os.Environ())) }
