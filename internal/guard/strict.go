package guard

import (
	"net/http"
	"net/netip"
	"strings"
)

// strictGuard is the listener's key guard. It refuses
//
//   - what came through a proxy, as X-Forwarded-*, Forwarded and Via say: what
//     stands before the listener lends it to whoever reaches that;
//   - what a browser sends for a page: Origin and Sec-Fetch-*. (The fetch of
//     Node.js sends Sec-Fetch-Mode too, its http.request does not);
//   - on tcp a Host that is neither localhost nor an address of the loopback
//     (127.0.0.0/8, [::1]), with any port. A name that somebody
//     else's DNS points at this machine shows itself there. Names below localhost,
//     and other ways to write an address (127.1, 0x7f.1, 2130706433), are refused,
//     and so is what asks from another machine, unless it says localhost: this is
//     no substitute for listening on the loopback;
//   - an address in the request line that is not a path: what is meant for a
//     forward proxy.
type strictGuard struct {
	*door
	unix bool
	next http.Handler
}

func (g *strictGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name := range r.Header {
		switch {
		case name == "Forwarded", name == "Via", strings.HasPrefix(name, "X-Forwarded"):
			g.refuse(w, r, forwarded, http.StatusForbidden,
				"this listener is for programs on this machine: a request with "+kin(name)+" came through a proxy; ask here without one")
			return
		case name == "Origin", strings.HasPrefix(name, "Sec-Fetch-"):
			g.refuse(w, r, browser, http.StatusForbidden,
				"this listener is for programs on this machine: a request with "+kin(name)+" comes from a page in a browser; ask with another client")
			return
		}
	}
	// net/http takes the Host of HTTP/1 out of the header. HTTP/2 may have one
	// beside :authority, and the one behind us might believe it.
	if h := r.Header["Host"]; len(h) > 1 || len(h) == 1 && h[0] != r.Host {
		g.refuse(w, r, wrongHost, http.StatusForbidden, "the request names two hosts; name one")
		return
	}
	if r.URL.Host != "" || r.URL.Scheme != "" {
		g.refuse(w, r, wrongHost, http.StatusForbidden,
			"this listener is no forward proxy: ask it for a path, and not for an address; is it set as HTTP_PROXY?")
		return
	}
	if !g.unix && !ours(r) {
		g.refuse(w, r, wrongHost, http.StatusForbidden,
			"this listener is for programs on this machine: the Host must be localhost or a loopback address, such as 127.0.0.1:8200")
		return
	}
	g.next.ServeHTTP(w, r)
}

// kin is how a header is named in an answer: as we know it, not as it was sent.
func kin(name string) string {
	for _, known := range [...]string{"X-Forwarded", "Sec-Fetch-"} {
		if strings.HasPrefix(name, known) {
			return strings.TrimSuffix(known, "-") + "-*"
		}
	}
	return name
}

// ours reports whether a request's Host is one of this machine.
func ours(r *http.Request) bool {
	host, ok := hostOf(r.Host)
	if !ok {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Zone() == "" && a.IsLoopback()
}

// hostOf takes the port off a Host, which may be missing, and gives a name in lower
// case or an address without brackets. What has another form is not ok.
func hostOf(s string) (host string, ok bool) {
	if rest, v6 := strings.CutPrefix(s, "["); v6 {
		host, rest, ok = strings.Cut(rest, "]")
		if !ok || !strings.Contains(host, ":") {
			return "", false
		}
		port, found := strings.CutPrefix(rest, ":")
		return host, rest == "" || found && isPort(port)
	}
	host, port, found := strings.Cut(s, ":")
	return strings.ToLower(host), host != "" && (!found || isPort(port))
}

func isPort(s string) bool {
	if s == "" || len(s) > 5 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
