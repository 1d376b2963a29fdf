package child

import (
	"errors"
	"fmt"
	"io"
	"os"

	"latchkey/internal/atomicfile"
)

// ErrOutput is the kind of the error about a file that the output of a supervised
// program should go to.
var ErrOutput = errors.New("output not opened")

// outputs are where a supervised program writes to, open.
type outputs struct {
	stdout, stderr io.Writer
	files          []*os.File
}

func (o *SupervisorOptions) outputs() (*outputs, error) {
	out := &outputs{stdout: o.Stdout, stderr: o.Stderr}
	if out.stdout == nil {
		out.stdout = os.Stdout
	}
	if out.stderr == nil {
		out.stderr = os.Stderr
	}
	if o.StdoutFile != "" {
		f, err := out.open(o.StdoutFile)
		if err != nil {
			return nil, fmt.Errorf("%w: standard output: %w", ErrOutput, err)
		}
		out.stdout = f
	}
	switch {
	case o.StderrFile != "" && o.StderrFile == o.StdoutFile:
		out.stderr = out.stdout
	case o.StderrFile != "":
		f, err := out.open(o.StderrFile)
		if err != nil {
			out.close()
			return nil, fmt.Errorf("%w: standard error: %w", ErrOutput, err)
		}
		out.stderr = f
	}
	return out, nil
}

func (o *outputs) open(path string) (*os.File, error) {
	f, err := atomicfile.Append(path, 0o644)
	if err == nil {
		o.files = append(o.files, f)
	}
	return f, err
}

// close closes our side; the program has its own.
func (o *outputs) close() {
	for _, f := range o.files {
		_ = f.Close()
	}
}
