package daemonmode

import "os"

// Windows has neither; nothing ever equals them.
var usr1, usr2 os.Signal = none{}, none{}

type none struct{}

func (none) Signal()        {}
func (none) String() string { return "no signal" }
