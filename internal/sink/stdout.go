package sink

import (
	"context"
	"io"
	"os"

	"latchkey/internal/retry"
)

// newStdout is the constructor of sink "stdout": the token followed by a line
// break, which is what $(...) and a reader of lines expect; wrapped and sealed
// tokens are one line of JSON as everywhere. It takes no keys.
func newStdout(o Options) (Destination, error) {
	if err := o.Config.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	if f, _ := o.Stdout.(*os.File); o.Stdout != nil && f != os.Stdout {
		return &stream{o.Stdout}, nil
	}
	return &descriptor{name: "stdout", fd: 1, line: true}, nil
}

// stream is what the caller gives in place of standard output.
type stream struct{ w io.Writer }

func (s *stream) Name() string { return "stdout" }

func (s *stream) Put(_ context.Context, data []byte) (bool, error) {
	_, err := s.w.Write(ended(data))
	return err == nil, retry.Permanent(err)
}

func (s *stream) Check() error { return nil }
