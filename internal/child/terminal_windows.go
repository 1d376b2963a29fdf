package child

import "os"

// terminal is nil: Windows has no foreground group. A program in our console
// reads from it as it is.
type terminal struct{}

func openTerminal(*os.File) *terminal { return nil }

func (*terminal) close()                      {}
func (*terminal) continued() <-chan os.Signal { return nil }
func (*terminal) take()                       {}
func (*terminal) suspend(os.Signal) bool      { return false }
func (*terminal) resume(job)                  {}
