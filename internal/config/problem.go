// Package config reads what the user wrote: configuration files in HCL (both
// of its dialects) and JSON, the environment, and flags. It knows every key of
// a vault agent file, and says with file, line and column what it does not
// understand.
//
// It touches no network and starts nothing. Warnings are data: the caller
// decides how to print them. An auth method's or a sink's own keys are not
// known here; they travel as a Block that its owner decodes, just as strictly.
package config

// Problem is one fault in the configuration: where, which key, what is wrong,
// and what to do about it.
type Problem struct {
	Pos Pos
	// Key is the dotted path of the key, such as "auto_auth.method.type".
	Key string
	// Text says what is wrong, Hint what to do; Hint may be empty.
	Text string
	Hint string
	// Source is the line of the file, without its line break; may be empty.
	Source string
}

func (p *Problem) Error() string { return p.Text }

// Warning is a fault that does not stop the run.
type Warning Problem
