// Package hcl takes text in HCL apart into its words.
//
// It stands apart from the parser, which is internal/config's, so that a program
// that reads no configuration file does not carry HashiCorp's library.
package hcl

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Lex calls each for every word of text, in order: its kind, as hclsyntax names
// kinds, its bytes, and from where to where it stands. The last one is the end of
// the file. What makes no sense is a word, too.
func Lex(text []byte, each func(kind rune, word []byte, start, end int)) {
	// The lexer's own diagnostics name tokens; the parser's name what was expected.
	tokens, _ := hclsyntax.LexConfig(text, "", hcl.InitialPos)
	for _, t := range tokens {
		each(rune(t.Type), t.Bytes, t.Range.Start.Byte, t.Range.End.Byte)
	}
}
