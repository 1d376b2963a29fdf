package vault

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// MergeStates adds the state of an answer's X-Vault-Index to those that were kept
// and returns the newest, one or two: a server counts what is local to it and what
// is replicated, and one state may be ahead in each. States of another cluster than
// the new one, and what makes no sense, are not kept. It changes nothing that it is
// given.
func MergeStates(kept []string, state string) []string {
	now, ok := parseState(state)
	if !ok {
		return []string{state}
	}
	newest := make([]string, 0, len(kept)+1)
	known := false
	for _, k := range kept {
		r, ok := parseState(k)
		if !ok || r.cluster != now.cluster || now.covers(r) && !r.covers(now) {
			continue
		}
		newest = append(newest, k)
		known = known || r.covers(now)
	}
	if !known {
		newest = append(newest, state)
	}
	return newest[max(0, len(newest)-2):] // as many as a server takes
}

// walState is what base64 of "v1:cluster:local index:replicated index:mac" says.
type walState struct {
	cluster           string
	local, replicated uint64
}

// covers reports whether who is at w is at o, too.
func (w walState) covers(o walState) bool { return w.local >= o.local && w.replicated >= o.replicated }

func parseState(s string) (w walState, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(s)
	parts := strings.Split(string(raw), ":")
	if err != nil || len(parts) != 5 || parts[0] != "v1" || parts[1] == "" {
		return w, false
	}
	local, bad := strconv.ParseUint(parts[2], 10, 64)
	other, worse := strconv.ParseUint(parts[3], 10, 64)
	return walState{parts[1], local, other}, bad == nil && worse == nil
}
