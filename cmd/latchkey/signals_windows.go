package main

import "os"

// Windows knows no signals but those that end a process.
var acted, unheard []os.Signal

func forwarded() []os.Signal { return nil }
