package reader

import (
	"context"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// mounts is what the preflights found.
type mounts struct {
	mu    sync.Mutex
	found []vault.Mount
	// failed are paths whose preflight failed. One that the server answered
	// (too old for the question, or the token may not ask) is nil here: the
	// path is read as it stands. One without an answer keeps its error, since
	// reading a guessed path would report the wrong fault.
	failed map[string]error
	// doubted are paths to be asked for again, because a read of them failed:
	// the engine there may be another by now. What is known holds meanwhile.
	doubted map[string]bool
}

// of returns the mount that serves path; known is true too for a path whose
// preflight failed.
func (m *mounts) of(path string) (mount vault.Mount, known bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.found {
		if covers(f, path) {
			return f, true, nil
		}
	}
	err, known = m.failed[path]
	return vault.Mount{}, known, err
}

// covers reports whether a mount serves path.
func covers(m vault.Mount, path string) bool {
	return m.Path != "" && (strings.HasPrefix(path, m.Path) || path+"/" == m.Path)
}

// settled reports whether nobody has to ask for the mount of path.
func (m *mounts) settled(path string) bool {
	_, known, _ := m.of(path)
	m.mu.Lock()
	defer m.mu.Unlock()
	return known && !m.doubted[path]
}

// doubt has the mount of path asked for again before it is used the next time.
func (m *mounts) doubt(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.doubted == nil {
		m.doubted = make(map[string]bool)
	}
	m.doubted[path] = true
}

func (m *mounts) add(path string, found vault.Mount, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.doubted, path)
	if err == nil && covers(found, path) {
		m.found = slices.DeleteFunc(m.found, func(f vault.Mount) bool { return covers(f, path) })
		m.found = append(m.found, found)
		maps.DeleteFunc(m.doubted, func(p string, _ bool) bool { return covers(found, p) })
		maps.DeleteFunc(m.failed, func(p string, _ error) bool { return covers(found, p) })
		return
	}
	if m.failed == nil {
		m.failed = make(map[string]error)
	}
	if !vault.Temporary(err) {
		err = nil
	}
	m.failed[path] = err
}

// preflight is the asking for mounts beside the reads: run asks when somebody
// wants it and closes done when that is over; leave has it end.
type preflight struct {
	run, want, leave func()
	done             chan struct{}
}

// preflights prepares to ask for the mounts of paths. Once it is left, what
// nobody wanted is not asked, and what hangs goes on for no longer than
// preflightGrace.
func (r *Reader) preflights(ctx context.Context, paths []string) preflight {
	ctx, callOff := context.WithCancel(ctx)
	begin, done := make(chan struct{}), make(chan struct{})
	run := func() {
		defer close(done)
		select {
		case <-begin:
			r.learnMounts(ctx, paths)
		case <-ctx.Done():
		}
	}
	want := sync.OnceFunc(func() { close(begin) })
	leave := func() {
		defer callOff()
		select {
		case <-begin:
			patience := time.NewTimer(preflightGrace)
			defer patience.Stop()
			select {
			case <-done:
			case <-patience.C:
			}
		default:
		}
	}
	return preflight{run, want, leave, done}
}

// learnMounts asks once per mount. Which paths share a mount is known only
// from an answer, so each round asks for one path per first segment and looks
// what that covers; a mount of several segments costs a further round only
// where its first segment is shared. Where a path got no mount for an answer,
// the others of its segment are asked together, for they may fare alike.
func (r *Reader) learnMounts(ctx context.Context, paths []string) {
	sort.Strings(paths)
	paths = slices.Compact(paths)
	if !slices.ContainsFunc(paths, func(p string) bool { return !needsNoMount(p) && !r.mounts.settled(p) }) {
		return
	}
	select {
	case r.learning <- struct{}{}:
		defer func() { <-r.learning }()
	case <-ctx.Done():
		return
	}
	mute := make(map[string]bool)
	for {
		var ask []string
		asked := make(map[string]bool)
		for _, p := range paths {
			if needsNoMount(p) || r.mounts.settled(p) {
				continue
			}
			if first, _, _ := strings.Cut(p, "/"); !asked[first] || mute[first] {
				asked[first] = true
				ask = append(ask, p)
			}
		}
		if len(ask) == 0 || ctx.Err() != nil {
			return
		}
		r.askMounts(ctx, ask)
		for _, p := range ask {
			first, _, _ := strings.Cut(p, "/")
			mount, _, _ := r.mounts.of(p)
			mute[first] = mount.Path == ""
		}
	}
}

// askMounts does one round. What was called off says nothing about a mount.
func (r *Reader) askMounts(ctx context.Context, paths []string) {
	var g errgroup.Group
	g.SetLimit(r.o.Parallel)
	for _, p := range paths {
		g.Go(func() error {
			m, err := r.mountOf(ctx, p)
			if ctx.Err() == nil {
				m.Path = relative(m.Path, p, r.client.Namespace())
				r.mounts.add(p, m, err)
			}
			return nil
		})
	}
	_ = g.Wait()
}

// mountOf asks which mount serves a path, patiently.
func (r *Reader) mountOf(ctx context.Context, path string) (m vault.Mount, err error) {
	err = r.patiently(ctx, "find mount of "+path, func(ctx context.Context) (err error) {
		m, err = r.client.Mount(ctx, path)
		return err
	})
	if err != nil {
		r.o.Log.DebugContext(ctx, "mount not found out, reading the path as it stands", "path", path, "error", err)
	}
	return m, err
}

// needsNoMount tells paths that are never a KV engine's.
func needsNoMount(path string) bool {
	return strings.HasPrefix(path, "sys/") || strings.HasPrefix(path, "auth/") ||
		strings.HasPrefix(path, "identity/") || strings.HasPrefix(path, "cubbyhole/")
}

// relative takes the client's namespace off a mount path that repeats it.
func relative(mount, path, namespace string) string {
	if namespace != "" && !strings.HasPrefix(path, mount) {
		return strings.TrimPrefix(mount, namespace)
	}
	return mount
}

// likelyLiteral tells a read whose path is an API path already, to judge by
// its "data/": only where a mount's own name holds that can it be otherwise.
// Reading such a path in vain costs nothing, for no key-value engine makes a
// lease.
func (m *mounts) likelyLiteral(req cred.Request) bool {
	if _, known, _ := m.of(req.Path); known || needsNoMount(req.Path) {
		return false
	}
	return req.Op == cred.OpRead && strings.Contains(req.Path, "/data/")
}

// resolve gives the API path of a request: for KV version 2, "data/" is put
// after the mount (for a list "metadata/"), unless the user already did.
func (m *mounts) resolve(req cred.Request) (path string, kv2 bool, err error) {
	mount, _, err := m.of(req.Path)
	if err != nil || !mount.KV2 {
		return req.Path, false, err
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(req.Path+"/", mount.Path), "/")
	rest = strings.TrimSuffix(rest, "/")
	prefix := "data/"
	if req.Op == cred.OpList {
		prefix = "metadata/"
	}
	for _, p := range []string{"data/", "metadata/", "subkeys/"} {
		if strings.HasPrefix(rest+"/", p) && (req.Op != cred.OpList || p == "metadata/") {
			return req.Path, p == "data/", nil
		}
	}
	return strings.TrimSuffix(mount.Path+prefix+rest, "/"), true, nil
}

// Resolve returns the API path of each request, after asking for the mounts,
// and reads nothing.
func (r *Reader) Resolve(ctx context.Context, reqs []cred.Request) ([]string, error) {
	paths := make([]string, len(reqs))
	for i, req := range reqs {
		paths[i] = req.Path
	}
	r.learnMounts(ctx, slices.Clone(paths))
	for i, req := range reqs {
		path, _, err := r.mounts.resolve(req)
		if err != nil {
			return nil, err
		}
		paths[i] = path
	}
	return paths, nil
}
