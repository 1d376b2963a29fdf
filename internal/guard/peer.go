package guard

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"latchkey/internal/owner"
)

// peerGuard serves some users' processes only.
type peerGuard struct {
	*door
	allowed peers
	peer    func(*http.Request) (Peer, bool)
	next    http.Handler
}

func (g *peerGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, ok := g.peer(r)
	switch {
	case !ok:
		g.refuse(w, r, noPeer, http.StatusForbidden, "this listener serves some users only, and the system does not say who asks")
	case !g.allowed.has(p):
		g.refuse(w, r, noPeer, http.StatusForbidden, "this listener serves some users only; allow_peers has the list",
			"uid", p.UID, "gid", p.GID, "pid", p.PID)
	default:
		g.next.ServeHTTP(w, r)
	}
}

// peers are who is served.
type peers struct{ users, groups []uint32 }

func (ps peers) has(p Peer) bool {
	if slices.Contains(ps.users, p.UID) {
		return true
	}
	return len(ps.groups) > 0 &&
		(slices.Contains(ps.groups, p.GID) || slices.ContainsFunc(p.Groups, func(g uint32) bool { return slices.Contains(ps.groups, g) }))
}

// peers reads Peers.
func (o Options) peers() (peers, error) {
	var ps peers
	switch {
	case len(o.Peers) == 0:
		return ps, nil
	case !o.Unix:
		return ps, o.problem("allow_peers", "is for unix listeners: nobody knows who is at the other end of tcp", "use a unix socket, or caller_token_file")
	case o.Peer == nil:
		return ps, o.problem("allow_peers", "cannot be held here: this system does not say who connects", "use socket_mode and socket_group, or caller_token_file")
	}
	var errs []error
	for _, s := range o.Peers {
		kind, name, _ := strings.Cut(s, ":")
		var id uint32
		var err error
		switch kind {
		case "user", "group":
			id, err = byName(kind, name)
		case "uid", "gid":
			id, err = byNumber(name)
		default:
			err = errors.New("is no peer")
		}
		if err != nil {
			errs = append(errs, o.problem("allow_peers", fmt.Sprintf("%q %v", s, err), "user:NAME, uid:N, group:NAME or gid:N"))
			continue
		}
		if kind[0] == 'u' {
			ps.users = append(ps.users, id)
		} else {
			ps.groups = append(ps.groups, id)
		}
	}
	return ps, errors.Join(errs...)
}

// byName looks a user or a group up.
func byName(kind, name string) (uint32, error) {
	find := owner.User
	if kind == "group" {
		find = owner.Group
	}
	if name == "" {
		return 0, errors.New("has no name")
	}
	id, err := find(name)
	if err != nil {
		return 0, fmt.Errorf("is not known here: %w", err)
	}
	if id < 0 {
		return 0, errors.New("is not known here")
	}
	return uint32(id), nil
}

func byNumber(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 1<<32-1 { // which is no user, to the system
		return 0, errors.New("has no number")
	}
	return uint32(n), nil
}
