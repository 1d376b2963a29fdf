package lambdaenv

import (
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/loglevel"
)

// given is what single variables say. The tags are their names.
type given struct {
	RunMode    string         `config:"VAULT_RUN_MODE"`
	Grace      time.Duration  `config:"VAULT_TOKEN_EXPIRY_GRACE_PERIOD"`
	CacheTTL   *time.Duration `config:"VAULT_DEFAULT_CACHE_TTL"`
	CacheEvery bool           `config:"VAULT_DEFAULT_CACHE_ENABLED"`
	FileMode   fs.FileMode    `config:"LATCHKEY_FILE_MODE"`
	DirMode    fs.FileMode    `config:"LATCHKEY_DIR_MODE"`
	Refresh    time.Duration  `config:"LATCHKEY_REFRESH_INTERVAL"`
	Fail       string         `config:"LATCHKEY_FAIL"`
	InitBudget *time.Duration `config:"LATCHKEY_INIT_BUDGET"`
	SnapStart  string         `config:"LATCHKEY_SNAPSTART"`
	Revoke     bool           `config:"LATCHKEY_REVOKE_ON_SHUTDOWN"`
	Config     string         `config:"LATCHKEY_CONFIG"`
	EnvKeep    string         `config:"LATCHKEY_ENV_KEEP"`
}

// reader reads one environment.
type reader struct {
	// env holds what is set and not empty, without blanks around it. order are its
	// names, sorted.
	env   map[string]string
	order []string
	s     *Settings
	probs config.Problems
}

// Read understands an environment, a list of NAME=value. Blanks around a value do
// not count, and a variable that is empty counts as not set. The error is
// config.Problems, each with the name of a variable.
func Read(environ []string) (*Settings, error) {
	r := &reader{env: make(map[string]string, len(environ)), s: &Settings{}}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		// The first one counts, as it does for the operating system.
		if _, twice := r.env[name]; !twice {
			r.env[name] = strings.TrimSpace(value)
		}
	}
	for name, value := range r.env {
		if value == "" {
			delete(r.env, name)
			continue
		}
		r.order = append(r.order, name)
	}
	slices.Sort(r.order)
	r.single()
	r.logging()
	r.secrets()
	r.s.ask = r.ask()
	if r.s.Config == "" {
		_, err := r.s.Over(config.Empty())
		r.add(err)
	}
	if len(r.probs) > 0 {
		return nil, r.probs
	}
	return r.s, nil
}

// refuse is a problem with a variable.
func (r *reader) refuse(name, text, hint string) {
	r.probs = append(r.probs, &config.Problem{Key: name, Text: text, Hint: hint})
}

// add takes the problems of an error.
func (r *reader) add(err error) {
	var all config.Problems
	var one *config.Problem
	switch {
	case err == nil:
	case errors.As(err, &all):
		r.probs = append(r.probs, all...)
	case errors.As(err, &one):
		r.probs = append(r.probs, one)
	default:
		r.probs = append(r.probs, &config.Problem{Text: err.Error()})
	}
}

// single reads the variables that stand for themselves.
func (r *reader) single() {
	values := map[string]any{}
	for i := range table {
		if v := &table[i]; (v.of == fromVLE || v.of == ours) && isSingle(v.name) && r.env[v.name] != "" {
			values[v.name] = r.env[v.name]
		}
	}
	for _, name := range r.order {
		if strings.HasPrefix(name, "LATCHKEY_") && !known(name) {
			r.refuse(name, "is no variable of latchkey", likeness(name))
		}
	}
	g := given{Grace: 10 * time.Second, FileMode: 0o600, DirMode: 0o700, Refresh: 5 * time.Minute}
	r.add(config.NewBlock("", values).Decode(&g))
	s := r.s
	s.Grace, s.FileMode, s.DirMode, s.Refresh = g.Grace, g.FileMode, g.DirMode, g.Refresh
	s.Revoke, s.Config, s.CacheEvery = g.Revoke, g.Config, g.CacheEvery
	s.EnvKeep = list(g.EnvKeep)
	mode := r.word("VAULT_RUN_MODE", g.RunMode, "default", "file", "proxy")
	s.Files, s.Proxy = mode != "proxy", mode != "file"
	s.FailOpen = r.word("LATCHKEY_FAIL", g.Fail, "closed", "open") == "open"
	s.InitLogin = r.word("LATCHKEY_SNAPSTART", g.SnapStart, "invoke", "init") == "init"
	r.initBudget(g.InitBudget)
	if s.InitLogin && s.InitType == SnapStart {
		s.Warnings = append(s.Warnings, "LATCHKEY_SNAPSTART is init: the snapshot holds a token and secrets, and every copy begins with the same ones")
	}
	s.CacheBytes = r.cacheBytes()
	switch {
	case g.CacheTTL != nil:
		s.CacheTTL = *g.CacheTTL
		s.CacheEvery = s.CacheEvery && s.CacheTTL > 0
	case s.CacheEvery && !r.bad("VAULT_DEFAULT_CACHE_TTL"):
		r.refuse("VAULT_DEFAULT_CACHE_ENABLED", "needs VAULT_DEFAULT_CACHE_TTL", "for example VAULT_DEFAULT_CACHE_TTL=5m")
	}
}

// isSingle says whether a variable is one of given.
func isSingle(name string) bool { return slices.Contains(singles, name) }

var singles = []string{
	"VAULT_RUN_MODE", "VAULT_TOKEN_EXPIRY_GRACE_PERIOD", "VAULT_DEFAULT_CACHE_TTL", "VAULT_DEFAULT_CACHE_ENABLED",
	"LATCHKEY_FILE_MODE", "LATCHKEY_DIR_MODE", "LATCHKEY_REFRESH_INTERVAL", "LATCHKEY_FAIL", "LATCHKEY_INIT_BUDGET",
	"LATCHKEY_SNAPSTART", "LATCHKEY_REVOKE_ON_SHUTDOWN", "LATCHKEY_CONFIG", "LATCHKEY_ENV_KEEP",
}

// bad says whether a variable is refused already.
func (r *reader) bad(name string) bool {
	return slices.ContainsFunc(r.probs, func(p *config.Problem) bool { return p.Key == name })
}

// known says whether the table has a name.
func known(name string) bool {
	return slices.ContainsFunc(table, func(v variable) bool {
		prefix, open := strings.CutSuffix(v.name, "*")
		return v.name == name || open && strings.HasPrefix(name, prefix) && len(name) > len(prefix)
	})
}

// likeness is a hint for a name that the table does not have.
func likeness(name string) string {
	var names []string
	for i := range table {
		if v := &table[i]; v.of == ours && !strings.HasSuffix(v.name, "*") {
			names = append(names, v.name)
		}
	}
	if hint := config.Closest(name, names); hint != "" {
		return hint
	}
	return "docs/lambda-environment.md has all there are"
}

// word is one of a few, the first of them when nothing is said.
func (r *reader) word(name, value string, words ...string) string {
	v := strings.ToLower(value)
	switch {
	case v == "":
		return words[0]
	case slices.Contains(words, v):
		return v
	}
	hint := config.Closest(v, words)
	last := len(words) - 1
	r.refuse(name, "must be "+strings.Join(words[:last], ", ")+" or "+words[last], hint)
	return words[0]
}

// list splits at commas.
func list(s string) []string {
	var out []string
	for p := range strings.SplitSeq(s, ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// first is the first variable that is set, and its value.
func (r *reader) first(names ...string) (name, value string) {
	for _, n := range names {
		if v := r.env[n]; v != "" {
			return n, v
		}
	}
	return "", ""
}

// logging reads how the log is written. What Lambda sets is believed as far as it
// is understood: nobody who reads this could change it.
func (r *reader) logging() {
	if name, value := r.first("BAO_LOG_LEVEL", "VAULT_LOG_LEVEL"); name != "" {
		level, err := loglevel.Parse(value)
		switch {
		case strings.EqualFold(value, "off"):
			level = LogOff
		case err != nil:
			r.refuse(name, "must be trace, debug, info, warn, error or off", "")
		}
		r.s.LogLevel, r.s.levelSaid = level, true
	} else if level := r.env["AWS_LAMBDA_LOG_LEVEL"]; strings.EqualFold(level, "fatal") {
		r.s.LogLevel = slog.LevelError
	} else if l, err := loglevel.Parse(level); err == nil {
		r.s.LogLevel = l
	}
	if name, value := r.first("BAO_LOG_FORMAT", "VAULT_LOG_FORMAT"); name != "" {
		r.s.LogJSON, r.s.formatSaid = r.word(name, value, "standard", "json") == "json", true
	} else {
		r.s.LogJSON = strings.EqualFold(r.env["AWS_LAMBDA_LOG_FORMAT"], "json")
	}
}

func levelOf(name string) slog.Level {
	l, _ := loglevel.Parse(name)
	return l
}
