package cache

import "strings"

// The members that were made at a known path form a treap: a search tree by path
// and number of arrival, and a heap by a number that is as good as drawn. It needs
// nothing but two pointers of each, and finds those below a path without looking
// at the others.

// before says whether m stands before o.
func (m *member) before(o *member) bool {
	if m.path != o.path {
		return m.path < o.path
	}
	return m.seq < o.seq
}

// luck is the heap's number. It follows from the number of arrival, and spreads.
func (m *member) luck() uint32 {
	x := m.seq*0x9e3779b1 + 0x7f4a7c15
	x = (x ^ x>>16) * 0x85ebca6b
	x = (x ^ x>>13) * 0xc2b2ae35
	return x ^ x>>16
}

// with returns the tree below t with n in it.
func (t *member) with(n *member) *member {
	switch {
	case t == nil:
		return n
	case n.luck() > t.luck():
		n.left, n.right = t.split(n)
		return n
	case n.before(t):
		t.left = t.left.with(n)
	default:
		t.right = t.right.with(n)
	}
	return t
}

// split returns what stands before n, and what does not.
func (t *member) split(n *member) (a, b *member) {
	switch {
	case t == nil:
		return nil, nil
	case n.before(t):
		a, t.left = t.left.split(n)
		return a, t
	}
	t.right, b = t.right.split(n)
	return t, b
}

// without returns the tree below t without n.
func (t *member) without(n *member) *member {
	switch {
	case t == nil:
		return nil
	case t == n:
		out := merge(n.left, n.right)
		n.left, n.right = nil, nil
		return out
	case n.before(t):
		t.left = t.left.without(n)
	default:
		t.right = t.right.without(n)
	}
	return t
}

// merge joins two trees, all of a standing before all of b.
func merge(a, b *member) *member {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.luck() > b.luck():
		a.right = merge(a.right, b)
		return a
	}
	b.left = merge(a, b.left)
	return b
}

// under appends what was made at a path that begins with prefix.
func (t *member) under(prefix string, to []*member) []*member {
	if t == nil {
		return to
	}
	in := strings.HasPrefix(t.path, prefix)
	if in || t.path >= prefix {
		to = t.left.under(prefix, to)
	}
	if in {
		to = append(to, t)
	}
	if in || t.path < prefix {
		to = t.right.under(prefix, to)
	}
	return to
}

// inDir says whether path is dir or lies below it; dir has no slash at its end.
func inDir(path, dir string) bool {
	return strings.HasPrefix(path, dir) && (dir == "" || len(path) == len(dir) || path[len(dir)] == '/')
}
