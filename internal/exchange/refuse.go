package exchange

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Refuse answers a request with the reason why it goes no further, in the form
// that the server gives its own. Headers beside those of a body are for the caller
// to set before.
func Refuse(w http.ResponseWriter, status int, reason string) {
	body, err := json.Marshal(map[string][]string{"errors": {reason}})
	if err != nil {
		http.Error(w, reason, status)
		return
	}
	body = append(body, '\n')
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // who has hung up does not want to know
}
