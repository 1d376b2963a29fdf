package config

import "sync"

// stanzas is every stanza of the table, each once, in the order of the
// reference.
var stanzas = sync.OnceValue(func() []*stanza {
	var out []*stanza
	var walk func(*stanza)
	walk = func(st *stanza) {
		for _, s := range out {
			if s == st {
				return
			}
		}
		out = append(out, st)
		for _, k := range st.keys {
			if k.sub != nil {
				walk(k.sub)
			}
		}
	}
	walk(&topStanza)
	return append(out, &waitStanza)
})

// envNames names the variables of a row, the one that wins first.
func envNames(env string) string { return "BAO_" + env + " or VAULT_" + env }
