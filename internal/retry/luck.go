package retry

import (
	crypto "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"sync"
)

// Luck returns a number from 0 up to 1, to spread what many would do at the same
// moment. It is for no secrets.
func Luck() float64 {
	dice.Lock()
	defer dice.Unlock()
	if dice.from == nil {
		dice.from = shaken()
	}
	return dice.from.Float64()
}

// Shake has the numbers of Luck begin anew from the system's randomness. Copies of
// one process, such as those that are restored from one snapshot, would else all
// draw the same.
func Shake() {
	dice.Lock()
	defer dice.Unlock()
	dice.from = shaken()
}

var dice struct {
	sync.Mutex
	from *rand.Rand
}

func shaken() *rand.Rand {
	var seed [16]byte
	_, _ = crypto.Read(seed[:]) // it never fails
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[:8]), binary.LittleEndian.Uint64(seed[8:])))
}
