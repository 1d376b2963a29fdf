package config

// Naming says what the user calls a key, by its dotted path: the name of a
// variable. "" leaves it at the path.
type Naming func(path string) string

// Empty is what no file at all says: the defaults. Resolve lays the environment
// over it, as it does over files.
func Empty() *Loaded { return &Loaded{File: newFile(), late: &lateWarnings{}} }

// Add lays values over what was loaded, as one more file would be. Keys and blocks
// are those of a file, values are what NewBlock takes, and text stands for numbers,
// booleans, durations, sizes and modes. Problems about them, those that are found
// later too, call a key as called does; from is what takes a file's place in them.
//
// The error is Problems.
func (l *Loaded) Add(from string, values map[string]any, called Naming) error {
	src := &source{name: from, json: true, called: called}
	return l.lay(nodeOf(src, values), src, Options{}).err()
}

// Variable is the name of the variable that sets a key of the vault stanza, "" for
// a key that has none.
func Variable(path string) string {
	for _, st := range []*stanza{&vaultStanza, &retryStanza} {
		for i := range st.keys {
			if k := &st.keys[i]; k.env != "" && (path == "vault."+k.name || path == "vault.retry."+k.name) {
				return "VAULT_" + k.env
			}
		}
	}
	return ""
}

// Sets says whether what was loaded sets a key, by its dotted path.
func (l *Loaded) Sets(path string) bool {
	_, ok := l.File.where.set[path]
	return ok
}
