package persist_test

import (
	"latchkey/internal/lease"
	"latchkey/internal/persist"
	"latchkey/internal/session"
)

// What the rooms beside ask for, without knowing this one.
var (
	_ lease.Store      = persist.Bucket{}
	_ session.Handover = persist.Handover{}
)
