package config

import (
	"testing"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// The lexer is handed in, and so are its names for the kinds of words.
func TestKindsOfWordsAreThoseOfTheLexer(t *testing.T) {
	for ours, theirs := range map[rune]hclsyntax.TokenType{
		tokOBrace: hclsyntax.TokenOBrace, tokCBrace: hclsyntax.TokenCBrace, tokOBrack: hclsyntax.TokenOBrack,
		tokCBrack: hclsyntax.TokenCBrack, tokOQuote: hclsyntax.TokenOQuote, tokCQuote: hclsyntax.TokenCQuote,
		tokQuotedLit: hclsyntax.TokenQuotedLit, tokIdent: hclsyntax.TokenIdent, tokNumberLit: hclsyntax.TokenNumberLit,
		tokComma: hclsyntax.TokenComma, tokEqual: hclsyntax.TokenEqual, tokColon: hclsyntax.TokenColon,
		tokDot: hclsyntax.TokenDot, tokMinus: hclsyntax.TokenMinus, tokApostrophe: hclsyntax.TokenApostrophe,
		tokBadUTF8: hclsyntax.TokenBadUTF8, tokEOF: hclsyntax.TokenEOF,
	} {
		if ours != rune(theirs) {
			t.Errorf("ours is %q, the lexer's is %q", ours, rune(theirs))
		}
	}
}

func TestAProgramWithoutALexerReadsJSONAlone(t *testing.T) {
	dir := write(t, map[string]string{"a.json": `{"log_level":"debug"}`, "b.hcl": `log_level = "debug"`})
	if _, err := Load([]string{dir + "/a.json"}, Options{}); err != nil {
		t.Error(err)
	}
	if _, err := Load([]string{dir + "/b.hcl"}, Options{}); err == nil {
		t.Error("read HCL without a lexer")
	}
}
