package sink

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"latchkey/internal/config"
	"latchkey/internal/vault"
)

// types is every type of sink, by the name a configuration gives it.
var types = map[string]func(Options) (Destination, error){
	"file":   newFile,
	"stdout": newStdout,
}

// Types lists the names of all sink types, sorted.
func Types() []string { return slices.Sorted(maps.Keys(types)) }

// Options is what a sink may need besides its stanza.
type Options struct {
	// Client reaches the server that wraps; its token is not used.
	Client *vault.Client
	// LookupEnv finds the variable that aad_env_var names; nil finds none.
	LookupEnv func(name string) (string, bool)
	// Stdout is where sink "stdout" writes, nil or os.Stdout for descriptor 1.
	Stdout io.Writer
	// Environ is the environment of the commands that tell of new content, as
	// NAME=value. Runner runs them, Signaller sends signals; a sink that needs
	// one that is nil fails to tell.
	Environ   []string
	Runner    Runner
	Signaller Signaller
	// Config is the sink's own block; New sets it.
	Config config.Block
}

// New builds the sink that a stanza describes: a destination, sealed when
// dh_type is set, fed with a wrapped token when wrap_ttl is. It is a Checker, and
// has all the optional abilities. Its error is a *config.Problem.
func New(s config.Sink, o Options) (Sink, error) {
	build, ok := types[s.Type]
	if !ok {
		return nil, &config.Problem{
			Pos: s.Pos, Key: "auto_auth.sink.type", Text: fmt.Sprintf("unknown sink type %q", s.Type),
			Hint: "there is " + strings.Join(Types(), ", "),
		}
	}
	o.Config = s.Config
	dest, err := build(o)
	if err != nil {
		return nil, err
	}
	b := &built{place: &place{Destination: dest}, notice: noticeOf(s, o)}
	dest = b.place
	switch s.DHType {
	case "":
	case "curve25519":
		dest = &sealed{Destination: dest, path: s.DHPath, derive: s.DeriveKey, aad: additional(s, o)}
	default:
		return nil, &config.Problem{
			Pos: s.Pos, Key: "auto_auth.sink.dh_type", Text: fmt.Sprintf("unknown dh_type %q", s.DHType), Hint: "there is curve25519",
		}
	}
	b.outer, b.Sink = dest, plain{dest}
	if s.WrapTTL > 0 {
		b.Sink = &wrapped{plain: plain{dest}, client: o.Client, ttl: s.WrapTTL}
	}
	return b, nil
}

// additional is the authenticated data: the variable replaces the literal, and
// one that is not set is empty, as vault agent has it. A reader that expects
// other data then fails to open the envelope; nothing is disclosed.
func additional(s config.Sink, o Options) []byte {
	if s.AADEnvVar == "" {
		return []byte(s.AAD)
	}
	if o.LookupEnv != nil {
		if v, ok := o.LookupEnv(s.AADEnvVar); ok {
			return []byte(v)
		}
	}
	return nil
}
