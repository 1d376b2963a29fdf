package sink

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"latchkey/internal/config"
	"latchkey/internal/cred"
)

func TestStanzasAtFault(t *testing.T) {
	file := func(v map[string]any) config.Sink {
		return config.Sink{Type: "file", Config: config.NewBlock("file", v)}
	}
	for name, s := range map[string]config.Sink{
		"unknown type":   {Type: "http"},
		"no path":        file(nil),
		"empty path":     file(map[string]any{"path": ""}),
		"unknown key":    file(map[string]any{"path": "x", "paht": "y"}),
		"bad mode":       file(map[string]any{"path": "x", "mode": "rw"}),
		"too much mode":  file(map[string]any{"path": "x", "mode": "04755"}),
		"two owners":     file(map[string]any{"path": "x", "owner": "a", "uid": 1}),
		"two groups":     file(map[string]any{"path": "x", "group": "a", "gid": 1}),
		"stdout has key": {Type: "stdout", Config: config.NewBlock("stdout", map[string]any{"path": "x"})},
		"unknown dh":     {Type: "stdout", DHType: "rot13", DHPath: "x"},
	} {
		var p *config.Problem
		if _, err := New(s, Options{}); !errors.As(err, &p) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestStdoutEndsInOneLineBreak(t *testing.T) {
	for _, tc := range []struct {
		tok  cred.Token
		want string
	}{
		{cred.Token{Value: cred.Redact("hvs.x")}, "hvs.x\n"},
		{cred.Token{Wrap: &cred.WrapInfo{Token: cred.Redact("w")}}, `{"token":"w","accessor":"","ttl":0,"creation_time":"0001-01-01T00:00:00Z","creation_path":"","wrapped_accessor":""}` + "\n"},
	} {
		var out bytes.Buffer
		s, err := New(config.Sink{Type: "stdout"}, Options{Stdout: &out})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.(Checker).Check(); err != nil {
			t.Error(err)
		}
		if err := s.Write(t.Context(), tc.tok); err != nil || out.String() != tc.want || s.Name() != "stdout" {
			t.Errorf("got %q, %v from %s", out.String(), err, s.Name())
		}
	}
	s, _ := New(config.Sink{Type: "stdout"}, Options{Stdout: broken{}})
	if err := s.Write(t.Context(), cred.Token{Value: cred.Redact("x")}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
