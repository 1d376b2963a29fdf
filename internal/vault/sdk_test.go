package vault

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hashicorp/vault/api"
)

// What the SDK makes of a server's states is what every other client of it does,
// but that it may keep one that another covers.
func TestStatesAreMergedAsTheSDKMergesThem(t *testing.T) {
	state := func() string {
		switch rand.IntN(20) {
		case 0:
			return "not a state"
		case 1:
			return base64.StdEncoding.EncodeToString([]byte("v2:0:1:1:00"))
		}
		return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "v1:%d:%d:%d:00", rand.IntN(2), rand.IntN(4), rand.IntN(4)))
	}
	for range 20000 {
		var kept []string
		for range rand.IntN(5) + 1 {
			s := state()
			ours, theirs := MergeStates(kept, s), api.MergeReplicationStates(kept, s)
			for _, o := range ours {
				if !slices.Contains(theirs, o) {
					t.Fatalf("%q and %q: ours %q, theirs %q", kept, s, ours, theirs)
				}
			}
			if len(theirs) > 2 {
				continue // which it forgets with the next one
			}
			for _, o := range theirs {
				w, _ := parseState(o)
				if !slices.ContainsFunc(ours, func(k string) bool { r, ok := parseState(k); return k == o || ok && r.covers(w) }) {
					t.Fatalf("%q and %q: ours %q, theirs %q", kept, s, ours, theirs)
				}
			}
		}
	}
}

func TestHeadersHaveTheSDKsNames(t *testing.T) {
	for ours, theirs := range map[string]string{
		headerRequest: api.RequestHeaderName, headerToken: api.AuthHeaderName, headerNamespace: api.NamespaceHeaderName,
	} {
		if ours != theirs {
			t.Errorf("ours is %s, theirs %s", ours, theirs)
		}
	}
}
