package cache

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestThePathsAreFoundByTheirBeginning(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var tree *member
	var all []*member
	for i := range 3000 {
		switch {
		case len(all) > 0 && rnd.IntN(3) == 0:
			j := rnd.IntN(len(all))
			tree = tree.without(all[j])
			all = slices.Delete(all, j, j+1)
		default:
			m := &member{path: fmt.Sprintf("a%d/b%d", rnd.IntN(12), rnd.IntN(12)), seq: uint32(i)}
			tree = tree.with(m)
			all = append(all, m)
		}
		prefix := []string{"", "a", "a1", "a1/", "a1/b1", "a5/b11", "b", "zzz"}[rnd.IntN(8)]
		var want []*member
		for _, m := range all {
			if strings.HasPrefix(m.path, prefix) {
				want = append(want, m)
			}
		}
		slices.SortFunc(want, func(a, b *member) int {
			if a.before(b) {
				return -1
			}
			return 1
		})
		if got := tree.under(prefix, nil); !slices.Equal(got, want) {
			t.Fatalf("step %d: %d under %q, want %d", i, len(got), prefix, len(want))
		}
	}
	if d := depth(tree); d > 40 {
		t.Errorf("the tree is %d deep for %d", d, len(all))
	}
}

func depth(t *member) int {
	if t == nil {
		return 0
	}
	return 1 + max(depth(t.left), depth(t.right))
}

func TestPathsThatComeInOrderMakeNoList(t *testing.T) {
	var tree *member
	for i := range 100_000 {
		tree = tree.with(&member{path: fmt.Sprintf("db/creds/%08d", i), seq: uint32(i)})
	}
	if d := depth(tree); d > 60 {
		t.Errorf("the tree is %d deep", d)
	}
}

func TestInDir(t *testing.T) {
	for _, tc := range []struct {
		path, dir string
		want      bool
	}{
		{"db/creds/app", "db", true}, {"db/creds/app", "db/creds/app", true}, {"db/creds/app2", "db/creds/app", false},
		{"db", "db/creds", false}, {"", "", true}, {"db", "", true}, {"database", "data", false},
	} {
		if got := inDir(tc.path, tc.dir); got != tc.want {
			t.Errorf("%q in %q: %v", tc.path, tc.dir, got)
		}
	}
}
