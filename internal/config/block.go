package config

// Block is the undecoded body of an auth method's or a sink's config. Its
// owner decodes it into a struct of its own.
type Block struct {
	// Type is the method or sink it belongs to, for messages.
	Type string
	Pos  Pos
}

// Decode fills the struct that v points to; see the tags' rules in decode.go.
func (b Block) Decode(v any) error { panic("being written") }
