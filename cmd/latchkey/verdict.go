package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"latchkey/internal/config"
	"latchkey/internal/wiring"
)

// verdict is what check found, in the shape of its JSON.
type verdict struct {
	OK       bool            `json:"ok"`
	Problems []finding       `json:"problems"`
	Warnings []finding       `json:"warnings"`
	InEffect []setting       `json:"in_effect,omitempty"`
	Config   json.RawMessage `json:"effective,omitempty"`
	Steps    []step          `json:"steps,omitempty"`
	ExitCode int             `json:"exit_code"`

	// effective is for the text form; last is its last line.
	effective, last string
	// parts are what the configuration makes, nil where it is at fault.
	parts *wiring.Parts
}

type finding struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Key    string `json:"key,omitempty"`
	Text   string `json:"text"`
	Hint   string `json:"hint,omitempty"`

	detail string
}

type setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

type step struct {
	Name   string  `json:"name"`
	OK     bool    `json:"ok"`
	Detail string  `json:"detail,omitempty"`
	Error  string  `json:"error,omitempty"`
	Millis float64 `json:"ms"`
}

func (v *verdict) warn(prefix string, err error) {
	for _, f := range findings(err) {
		f.Text, f.detail = prefix+f.Text, prefix+f.detail
		v.Warnings = append(v.Warnings, f)
	}
}

func (v *verdict) failed(err error) {
	if err == nil {
		return
	}
	v.OK = false
	v.last, v.ExitCode = explain(err)
	v.Problems = append(v.Problems, findings(err)...)
}

// findings takes an error apart into what a person can act on one by one.
func findings(err error) []finding {
	if err == nil {
		return nil
	}
	var out []finding
	for _, c := range causes(err) {
		var list config.Problems
		var one *config.Problem
		switch {
		case errors.As(c, &list):
			for _, p := range list {
				out = append(out, found(p))
			}
		case errors.As(c, &one):
			out = append(out, found(one))
		default:
			row := classify(c)
			out = append(out, finding{Text: c.Error(), Hint: row.hint, detail: c.Error()})
		}
	}
	return out
}

func found(p *config.Problem) finding {
	return finding{p.Pos.File, p.Pos.Line, p.Pos.Column, p.Key, p.Text, p.Hint, p.Detail()}
}

// print is the text form, for people.
func (v *verdict) print(w world, s *setup) {
	out := w.stdout
	if v.effective != "" {
		fmt.Fprintln(out, v.effective)
	}
	for _, f := range v.Warnings {
		fmt.Fprintf(out, "warning: %s\n", f.detail)
	}
	if len(v.InEffect) > 0 {
		table(out, func(t io.Writer) {
			for _, e := range v.InEffect {
				fmt.Fprintf(t, "%s\t%s\t(%s)\n", e.Name, e.Value, e.Origin)
			}
		})
	}
	table(out, func(t io.Writer) {
		for _, st := range v.Steps {
			mark, text := "ok", st.Detail
			if !st.OK {
				mark, text = "FAILED", st.Error
			}
			fmt.Fprintf(t, "%s\t%s\t%s\n", mark, st.Name, text)
		}
	})
	if v.OK {
		fmt.Fprintf(out, "%s: valid\n", strings.Join(s.file.Sources, ", "))
		return
	}
	for _, f := range v.Problems {
		if f.Line > 0 || len(v.Problems) > 1 {
			fmt.Fprintln(w.stderr, f.detail)
		}
	}
	fmt.Fprintf(w.stderr, "latchkey: %s\n", v.last)
}

func table(w io.Writer, rows func(io.Writer)) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows(t)
	_ = t.Flush()
}
