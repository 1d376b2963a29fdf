//go:build linux

package lambdatest

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ErrNoSkew means that a binary was not built by BuildSkewed.
var ErrNoSkew = errors.New("the binary's wall clock cannot be moved; build it with BuildSkewed")

// Skew moves the wall clock of an extension, by name, so that it differs from
// the true time by d, in whole seconds. The environment is frozen while that is
// done; it stays so if it was. What the extension reads as monotonic time does
// not move; the deadlines it is told do.
func (p *Platform) Skew(name string, d time.Duration) error {
	p.mu.Lock()
	was := p.frozen
	p.mu.Unlock()
	p.Freeze()
	if !was {
		defer p.Thaw()
	}
	pid := p.PID(name)
	if pid == 0 {
		return fmt.Errorf("%s does not run", name)
	}
	proc := "/proc/" + strconv.Itoa(pid)
	at, err := skewAt(proc + "/exe")
	if err != nil {
		return err
	}
	memory, err := os.OpenFile(proc+"/mem", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	seconds := binary.NativeEndian.AppendUint64(nil, uint64(int64(d/time.Second)))
	_, err = memory.WriteAt(seconds, int64(at))
	if err = errors.Join(err, memory.Close()); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.skews[name] = d
	return nil
}

// skewAt finds the number in a binary that is loaded where it was linked, as
// static Go programs are.
func skewAt(path string) (uint64, error) {
	f, err := elf.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	symbols, err := f.Symbols()
	if err != nil || f.Type != elf.ET_EXEC {
		return 0, errors.Join(ErrNoSkew, err)
	}
	for _, s := range symbols {
		if s.Name == "runtime.lambdatestSkew" {
			return s.Value, nil
		}
	}
	return 0, ErrNoSkew
}
