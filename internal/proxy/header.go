package proxy

import (
	"maps"
	"net/http"
	"net/textproto"
	"strings"
	"sync/atomic"
)

// hop reports whether a header is between two parties next to each other.
func hop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// connected lists the headers that Connection declares to be for this hop only.
func connected(values []string) (names []string) {
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			if name = textproto.TrimString(name); name != "" {
				names = append(names, http.CanonicalHeaderKey(name))
			}
		}
	}
	return names
}

func without(h http.Header, names []string) http.Header {
	out := maps.Clone(h)
	for _, name := range names {
		if !hop(name) {
			delete(out, name)
		}
	}
	return out
}

// clean takes out of an answer's header what is between the server and us, and the
// token, which no server sends, but one that shows what it was sent might.
func clean(h http.Header) {
	delete(h, "X-Vault-Token")
	for _, name := range connected(h["Connection"]) {
		delete(h, name)
	}
	for name := range h {
		if hop(name) {
			delete(h, name)
		}
	}
}

// Values that are sent so often that they are made once; nobody changes them.
var (
	yes       = []string{"true"}
	toActive  = []string{"forward-active-node"}
	upgrade   = []string{"Upgrade"}
	webSocket = []string{"websocket"}
)

// header is what is sent to the server, but for the token that is lent.
func (h *handler) header(q *question) http.Header {
	out := make(http.Header, len(q.Header)+4)
	for name, v := range q.Header {
		switch name {
		case "Accept-Encoding":
			// The answer goes through byte by byte, and may be looked into.
			continue
		case "Expect", "Content-Length", "Host":
			continue
		case cacheControl, "X-Latchkey-Token":
			// For us, and the second is a secret of ours.
			continue
		case "X-Vault-Namespace":
			if first(v) == "" {
				continue
			}
		}
		if !hop(name) && len(v) > 0 {
			out[name] = v
		}
	}
	if first(q.Header["X-Vault-Token"]) == "" || q.Who.Lent != "" {
		delete(out, "X-Vault-Token")
	}
	if token, ok := bearer(out); ok {
		switch {
		case q.Who.Lent != "", out["X-Vault-Token"] != nil:
			delete(out, "Authorization")
		case token != "" && !strings.HasPrefix(out["Authorization"][0], "Bearer "):
			// The server knows the scheme in this spelling alone, and we all.
			out["Authorization"] = []string{"Bearer " + token}
		}
	}
	if out["X-Vault-Request"] == nil {
		out["X-Vault-Request"] = yes
	}
	out["User-Agent"] = h.agent.with(first(q.Header["User-Agent"]))
	if q.upgrade {
		out["Connection"], out["Upgrade"] = upgrade, webSocket
	}
	h.require(out)
	return out
}

// agent makes the User-Agent: ours, and behind it the client's. Most clients are
// the same as the one before.
type agent struct {
	product string
	last    atomic.Pointer[agentOf]
}

type agentOf struct {
	client string
	value  []string
}

func (a *agent) with(client string) []string {
	if l := a.last.Load(); l != nil && l.client == client {
		return l.value
	}
	v := a.product
	if client != "" {
		v += "; " + client
	}
	l := &agentOf{client, []string{v}}
	a.last.Store(l)
	return l.value
}

// upgrades reports whether a client wants a web socket.
func upgrades(h http.Header) bool {
	if !strings.EqualFold(first(h["Upgrade"]), "websocket") {
		return false
	}
	for _, name := range connected(h["Connection"]) {
		if name == "Upgrade" {
			return true
		}
	}
	return false
}
