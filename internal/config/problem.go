// Package config reads what the user wrote: configuration files in HCL (both
// of its dialects) and JSON, the environment, and flags. It knows every key of
// a vault agent file, and says with file, line and column what it does not
// understand.
//
// It touches no network and starts nothing. Warnings are data: the caller
// decides how to print them. An auth method's or a sink's own keys are not
// known here; they travel as a Block that its owner decodes, just as strictly.
//
// The way through: Load reads and merges the files, Loaded.Resolve lays the
// environment and the flags over them, Check judges the whole. Every key there
// is stands in one table, schema.go, which docs/configuration.md is written
// from; to add a key, add its line there.
package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Problem is one fault in the configuration: where, which key, what is wrong,
// and what to do about it. No Problem carries a secret.
type Problem struct {
	Pos Pos
	// Key is the dotted path of the key, such as "auto_auth.method.type", or
	// the name of the environment variable or flag at fault.
	Key string
	// Text says what is wrong, Hint what to do; Hint may be empty.
	Text string
	Hint string
	// Source is the line of the file, without its line break; may be empty.
	// Strings in it that could be secrets are starred out.
	Source string
}

// Error is the problem in one line: place, key, text and hint.
func (p *Problem) Error() string {
	s := p.heading()
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

func (p *Problem) heading() string {
	parts := make([]string, 0, 3)
	if at := p.Pos.String(); at != "" {
		parts = append(parts, at)
	}
	if p.Key != "" {
		parts = append(parts, strings.Map(printable, p.Key))
	}
	return strings.Join(append(parts, p.Text), ": ")
}

// Detail is the problem in several lines: place, key and text; the line of the
// file with a caret below the column; the hint. It ends without a line break.
func (p *Problem) Detail() string {
	var b strings.Builder
	b.WriteString(p.heading())
	if p.Source != "" && p.Pos.Line > 0 {
		text, col := window(p.Source, p.Pos.Column)
		num := strconv.Itoa(p.Pos.Line)
		fmt.Fprintf(&b, "\n  %s | %s\n  %s | %s^", num, text, strings.Repeat(" ", len(num)), indentTo(text, col))
	}
	if p.Hint != "" {
		b.WriteString("\n  hint: " + p.Hint)
	}
	return b.String()
}

// window cuts a long line to what surrounds column col, and returns the column
// within the cut. Generated JSON is often one line of thousands of characters.
func window(line string, col int) (string, int) {
	const before, after = 60, 60
	r := []rune(line)
	col = min(max(col, 1), len(r)+1)
	from, to := max(0, col-1-before), min(len(r), col-1+after)
	if len(r) <= before+after {
		return line, col
	}
	text, shift := string(r[from:to]), from
	if from > 0 {
		text, shift = "…"+text, from-1
	}
	if to < len(r) {
		text += "…"
	}
	return text, col - shift
}

// indentTo is the white space that puts a caret below column col, with the
// tabs of the line itself.
func indentTo(line string, col int) string {
	var b strings.Builder
	for i, r := range []rune(line) {
		if i >= col-1 {
			break
		}
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// Problems is every fault of all files, sorted by place. It is an error when
// it holds any; errors.As finds it, and the first *Problem in it.
type Problems []*Problem

// maxShown is how many problems are worth reading at once.
const maxShown = 50

// Error is the problems in full, one below the other; when there are very many,
// the first of them.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i == maxShown {
			fmt.Fprintf(&b, "\nand %d more", len(ps)-i)
			break
		}
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(p.Detail())
	}
	return b.String()
}

// Unwrap lets errors.As and errors.Is look at each problem.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// err is nil when there are no problems.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b *Problem) int { return a.Pos.compare(b.Pos) })
	return ps
}

// Warning is a fault that does not stop the run.
type Warning Problem

// String is the warning in one line, as Problem.Error gives it.
func (w Warning) String() string { return (*Problem)(&w).Error() }

// Detail is the warning in several lines, as Problem.Detail gives it.
func (w Warning) Detail() string { return (*Problem)(&w).Detail() }

// String is file:line:column, as editors understand it; "" when nowhere.
func (p Pos) String() string {
	switch {
	case p.Line > 0:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	default:
		return p.File
	}
}

func (p Pos) compare(q Pos) int {
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
}
