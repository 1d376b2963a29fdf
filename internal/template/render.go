package template

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"latchkey/internal/atomicfile"
	"latchkey/internal/cred"
)

// Report is what a Render did; it holds no content.
type Report struct {
	// Templates has one Outcome for each Spec, in their order; in a Watch, for
	// those that something became of.
	Templates []Outcome
	// Complete is whether every template has been rendered at least once, or has
	// failed with ErrorFatal false; from then on it stays so.
	Complete bool
	// Passes is the number of times the open templates were evaluated, Requests
	// the number of requests handed to the Reader. A Watch, whose rounds overlap,
	// leaves both at 0.
	Passes, Requests int
}

// Outcome is what became of one template.
type Outcome struct {
	Name        string
	Destination string
	// Variable is the environment variable that it renders instead of a file,
	// Value what it holds now; empty when it never was rendered.
	Variable string
	Value    cred.Redacted
	// Files lists what else it wrote, with writeToFile.
	Files []string
	// Changed is whether any of its files, or its Value, is not what it was before.
	Changed bool
	// Bytes is the size of the destination.
	Bytes int
	// Command is the program that was run, "" for none; one that several
	// templates share is listed with each.
	Command string
	// Err is why it failed, nil when all is done.
	Err error
}

// Render evaluates all templates, fetches what they need, writes each as soon
// as it is complete, and when no template is open any more runs the commands
// of those that changed, each distinct command once, in the order of the
// templates. When it returns every file is on disk and every command has ended.
//
// A template that fails disturbs no other. The error joins those of the
// templates with ErrorFatal, nil when there is none; the Report has them all.
func (s *Set) Render(ctx context.Context, r Reader) (Report, error) {
	u := s.newRun(r, newRemote(s.env)).all()
	defer u.remote.clients.Stop()
	passes := u.loop(ctx)
	u.runCommands(ctx)
	return u.report(passes)
}

// loop evaluates, fetches and writes until every job is done, and returns the
// number of passes.
func (u *run) loop(ctx context.Context) (passes int) {
	for open := u.open(); len(open) > 0; open = u.open() {
		if err := u.mayGoOn(ctx, passes); err != nil {
			for _, j := range open {
				j.fail(nil, err)
				u.tell(j)
			}
			break
		}
		passes++
		// In parts, so that not all outputs are in memory at a time.
		for part := range slices.Chunk(open, 16*writers) {
			u.write(u.evaluate(part))
		}
		if open = u.open(); len(open) > 0 {
			u.fetch(ctx, open)
		}
	}
	return passes
}

func (u *run) mayGoOn(ctx context.Context, passes int) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrRender, context.Cause(ctx))
	}
	if passes >= maxPasses {
		return fmt.Errorf("%w: asks for something new in each of %d passes; does a path hold a time or a random value?",
			ErrRender, passes)
	}
	return nil
}

func (u *run) report(passes int) (Report, error) {
	rep := Report{Passes: passes, Requests: len(u.answers), Complete: true}
	log := u.set.opts.Log
	var errs []error
	for _, j := range u.jobs {
		j.result.Err = j.err
		rep.Templates = append(rep.Templates, j.result)
		switch {
		case j.err == nil:
			log.Debug("template done", "template", j.t.label, "changed", j.result.Changed, "bytes", j.result.Bytes)
		case j.t.spec.ErrorFatal:
			rep.Complete = false
			errs = append(errs, j.err)
		default:
			log.Warn("template failed, error_fatal is off", "error", j.err)
		}
	}
	return rep, errors.Join(errs...)
}

// writers is how many files are written at a time: syncing to disk is waiting,
// and waiting together is quicker even on one processor. Many more contend for
// the directory they share: 32 cost 50 templates 5 % more than 8.
const writers = 8

// write puts the complete templates on disk. Those that touch a path that
// another touches too, or write more than one file, go one after the other.
func (u *run) write(jobs []*job) {
	touched := map[string]int{}
	for _, j := range jobs {
		touched[j.t.path()]++
		for _, f := range j.side {
			touched[filepath.Clean(f.path)]++
		}
	}
	var inOrder []*job
	var wg sync.WaitGroup
	slots := make(chan struct{}, writers)
	for _, j := range jobs {
		if path := j.t.path(); len(j.side) > 0 || path != "" && touched[path] > 1 {
			inOrder = append(inOrder, j)
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			u.writeJob(j)
		})
	}
	for _, j := range inOrder {
		u.writeJob(j)
	}
	wg.Wait()
}

// writeJob writes the other files first and the destination last: what pkiCert
// finds in the destination then never is newer than the key beside it.
func (u *run) writeJob(j *job) {
	defer u.tell(j)
	files, err := fold(j.side)
	if err != nil {
		j.fail(ErrWrite, err)
		return
	}
	sides := len(files)
	if j.t.spec.Variable != "" {
		if err := j.assign(); err != nil {
			j.fail(ErrRender, err)
			return
		}
	} else {
		files = append(files, sideFile{path: j.t.spec.Destination, content: string(j.output), opts: j.t.file})
	}
	for i, f := range files {
		changed, err := atomicfile.Write(f.path, []byte(f.content), f.opts)
		if err != nil {
			j.fail(ErrWrite, err)
			return
		}
		j.result.Changed = j.result.Changed || changed
		if i < sides {
			j.result.Files = append(j.result.Files, f.path)
		}
	}
	j.result.Bytes = len(j.output)
	j.done, j.output, j.side = true, nil, nil
}

// assign gives the output to the variable.
func (j *job) assign() error {
	if bytes.IndexByte(j.output, 0) >= 0 {
		return fmt.Errorf("%s: a variable cannot hold a NUL byte", j.t.spec.Variable)
	}
	j.result.Value = cred.Redact(string(j.output))
	j.result.Changed = !j.rendered || !j.result.Value.Equal(j.value)
	return nil
}
