package extension

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"latchkey/internal/cred"
	"latchkey/internal/envwire"
	"latchkey/internal/ref"
)

// handOver is what the program that starts the function is told to do.
type handOver struct {
	// Environ is the environment of the extension, in which the function's is to be
	// seen but for what the platform adds.
	Environ []string
	// Own are the names, and the beginnings of names with a * at their end, of what
	// is latchkey's own; Keep are those of them that stay all the same.
	Own, Keep []string
	// Names hold references, whether they got a value or not.
	Names []string
	// Values are the variables and what they are set to.
	Values map[string]cred.Redacted
	// Err is why there are none.
	Err error
}

// answer puts a handOver into the form that goes over the socket. With an error it
// still says what has to go, for a function that is started all the same.
func (h handOver) answer() envwire.Answer {
	a := envwire.Answer{Unset: slices.Concat(h.unset(), h.Names)}
	if h.Err != nil {
		a.Err = h.Err.Error()
		return a
	}
	for name, value := range h.Values {
		a.Set = append(a.Set, envwire.Pair{Name: name, Value: value.Reveal()})
	}
	return a
}

// unset is Own without what stays: each name in the environment on its own, since
// a beginning with a * cannot say what of it stays, and then the beginnings that
// nothing is kept of.
func (h handOver) unset() []string {
	var out []string
	own := slices.Concat(h.Own, ref.Settings())
	for _, entry := range h.Environ {
		name, value, _ := strings.Cut(entry, "=")
		if envwire.Matches(own, name) && !envwire.Matches(h.Keep, name) && !ourAddress(name, value) {
			out = append(out, name)
		}
	}
	for _, name := range own {
		beginning, all := strings.CutSuffix(name, "*")
		touches := func(n string) bool {
			k, _ := strings.CutSuffix(n, "*")
			return n == name || all && strings.HasPrefix(k, beginning) || k != n && strings.HasPrefix(beginning, k)
		}
		if !slices.ContainsFunc(h.Keep, touches) && !slices.ContainsFunc(addresses[:], touches) {
			out = append(out, name)
		}
	}
	return out
}

// addresses are the variables by which a Vault client finds its server.
var addresses = [...]string{"VAULT_ADDR", "BAO_ADDR", "VAULT_AGENT_ADDR", "BAO_AGENT_ADDR"}

// ourAddress reports whether a variable sends the function's own client to this
// machine, where the proxy listens: that one is the function's and not ours.
func ourAddress(name, value string) bool {
	if !slices.Contains(addresses[:], name) {
		return false
	}
	u, err := url.Parse(strings.TrimSpace(value))
	if err != nil {
		return false
	}
	host := u.Hostname()
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// reserved are the names that the platform gives to a function and hides from an
// extension: what VAULT_ENV_FROM_PATH brings does not take their place unseen.
var reserved = []string{"_*", "LAMBDA_*", "AWS_LAMBDA_*", "AWS_EXECUTION_ENV", "AWS_XRAY_*"}

// listenEnvironment opens the socket on which the program that starts the function
// asks. Nothing asks before the extension has registered.
func listenEnvironment(runtimeAPI string) (*net.UnixListener, error) {
	return net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: envwire.Address(runtimeAPI)})
}
