// Command getvault prints the path of the Vault server that the end-to-end
// tests use, building it first when there is none. Run it before the tests:
// what a test has to say about a long build, go test holds back until the end.
package main

import (
	"fmt"
	"os"

	"latchkey/e2e/server"
)

func main() {
	path, err := server.Binary(os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "getvault:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}
