package main

import (
	"errors"
	"fmt"

	"latchkey/internal/config"
	"latchkey/internal/persist"
	"latchkey/internal/wiring"
)

// persist opens the file that tokens and leases outlive this process in, nil
// when there is none. That it cannot be used is no reason to do without secrets,
// unless the configuration says so.
func (s *setup) persist(o wiring.Options) (*persist.File, error) {
	po, ok := wiring.Persist(s.file, o)
	if !ok {
		return nil, nil
	}
	f, err := persist.Open(po)
	if err == nil {
		return f, nil
	}
	p := s.file.Cache.Persist
	if p.ExitOnErr {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
		return nil, &config.Problem{
			Pos: p.Pos, Key: "cache.persist", Text: fmt.Sprintf("cannot go on with what is kept: %v", err),
			Hint: "mend it, or leave exit_on_err out to start without",
		}
	}
	text := "nothing is kept for the next start"
	if f != nil {
		text = "nothing is known of an earlier run"
	}
	s.log.Warn(text, "path", po.Path, "error", err)
	return f, nil
}

// keeps is the file that was opened at the start, nil for a configuration of another
// server: what is kept there is good for the one, and what comes from this one must
// not lie among it.
func (d *staying) keeps(f *config.File) *persist.File {
	if wiring.KeptFor(f) != wiring.KeptFor(d.s.file) {
		return nil
	}
	return d.persist
}

// keptOtherwise says whether two configurations disagree about the file that
// outlives this process: where it is, its key, and whose secrets are in it.
func keptOtherwise(a, b *config.File) bool {
	type kept struct {
		config.Persist
		server string
	}
	of := func(f *config.File) kept {
		if f.Cache == nil || f.Cache.Persist == nil {
			return kept{}
		}
		k := kept{*f.Cache.Persist, wiring.KeptFor(f)}
		k.Pos = config.Pos{}
		return k
	}
	return of(a) != of(b)
}

// close writes what is still to be written.
func (s *setup) close(f *persist.File) {
	if f == nil {
		return
	}
	if err := f.Close(); err != nil {
		s.log.Error("not everything was kept for the next start", "error", err)
	}
}
