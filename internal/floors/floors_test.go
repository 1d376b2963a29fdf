package floors

import (
	"strconv"
	"strings"
	"testing"
)

// beside is the number from which on a package is not part of the product.
const beside = 8

// floors says on which floor each room lives. A room may import rooms of lower
// floors only, never a neighbour: so every room can be read, tested and
// replaced without knowing those beside it, and no circle can form.
var floors = map[string]int{
	// ground: nouns and hand tools
	"internal/atomicfile":  0,
	"internal/cred":        0,
	"internal/environ":     0,
	"internal/envwire":     0,
	"internal/execwrap":    1,
	"internal/hcl":         0,
	"internal/loglevel":    0,
	"internal/meter":       0,
	"internal/ref/grammar": 0, // knows what a reference looks like, and nothing else
	"internal/onecore":     0,
	"internal/owner":       0,
	"internal/retry":       0,
	"internal/sockaddr":    0,

	// the edges: the file, the server, the log
	"internal/config":   1,
	"internal/exchange": 1,
	"internal/logging":  1,
	"internal/vault":    1,

	// rooms
	"internal/auth":       2,
	"internal/cache":      2,
	"internal/child":      2,
	"internal/guard":      2,
	"internal/handover":   2,
	"internal/health":     2,
	"internal/lambdaenv":  2,
	"internal/lease":      2,
	"internal/listen":     2,
	"internal/persist":    2,
	"internal/proxy":      2,
	"internal/reader":     2,
	"internal/secretfile": 2,
	"internal/ref":        2,
	"internal/session":    2,
	"internal/sink":       2,
	"internal/systemd":    2,
	"internal/telemetry":  2, // reads its stanza; nobody but the modes knows it
	"internal/template":   2,

	// what arranges them
	"internal/access":  3,
	"internal/methods": 3,
	"internal/wiring":  3,
	"oneshot":          3,
	"extension":        3,
	"daemonmode":       3,

	// the programs
	"cmd/latchkey":           4,
	"cmd/latchkey-exec":      4,
	"cmd/latchkey-extension": 4,

	// beside the house: fakes, laws, demonstrations
	"internal/awstest":             beside,
	"internal/floors":              beside,
	"internal/lambdatest":          beside,
	"internal/lambdatest/function": beside + 1, // is built, not imported
	"internal/vaulttest":           beside,
	"layer":                        beside, // makes the zips
	"samples":                      beside + 1,
}

// stairs are the imports between neighbours that are allowed, and why.
var stairs = map[string]string{
	"extension > internal/access":       "two programs put the same job together",
	"internal/wiring > internal/access": "access is the part of the wiring that every program has; wiring adds what only the large one carries",
	"internal/session > internal/auth":  "the token's state machine is the one caller of a login method",
}

// floorOf gives the floor of a room, or -1 when the table does not know it. A
// folder below a room (internal/auth/aws) is on its room's floor.
func floorOf(room string) int {
	for r := room; r != "." && r != ""; {
		if f, ok := floors[r]; ok {
			return f
		}
		cut := strings.LastIndex(r, "/")
		if cut < 0 {
			break
		}
		r = r[:cut]
	}
	return -1
}

func TestImportsGoDown(t *testing.T) {
	for _, p := range goList(t, "./...") {
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		if floorOf(from) < 0 {
			t.Errorf("%s has no floor: add it to the table in floors_test.go", from)
			continue
		}
		for _, i := range p.Imports {
			to, ours := strings.CutPrefix(i, module+"/")
			if !ours {
				continue
			}
			if why := offence(from, to); why != "" {
				t.Errorf("%s > %s: %s", from, to, why)
			}
		}
	}
}

// offence says why from may not import to, or "".
func offence(from, to string) string {
	a, b := floorOf(from), floorOf(to)
	switch {
	case b < 0:
		return "the imported package has no floor"
	case a > b, stairs[from+" > "+to] != "", strings.HasPrefix(from, to+"/"):
		return ""
	case a == b:
		return "neighbours on floor " + strconv.Itoa(a) + " do not know each other: let wiring adapt one to the other, or write the stair and its reason into floors_test.go"
	}
	return "floor " + strconv.Itoa(a) + " may not import floor " + strconv.Itoa(b)
}

func TestTheFloorLawBites(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		allowed  bool
	}{
		{"internal/auth", "internal/vault", true},
		{"internal/session", "internal/auth", true},
		{"internal/auth/aws", "internal/auth", true},
		{"samples/quickstart", "internal/vaulttest", true},
		{"internal/auth", "internal/session", false},
		{"internal/sink", "internal/template", false},
		{"internal/cred", "internal/vault", false},
		{"cmd/latchkey", "internal/vaulttest", false},
		{"oneshot", "internal/wiring", false},
		{"internal/auth", "internal/unheard", false},
	} {
		if got := offence(tc.from, tc.to); (got == "") != tc.allowed {
			t.Errorf("%s > %s: %q", tc.from, tc.to, got)
		}
	}
}
