package cases

import (
	"net/http"

	"latchkey/internal/vaulttest"
)

// Broker stands for a RabbitMQ: what Vault's rabbitmq engine, the leased
// engine that needs no database, makes users in.
type Broker struct {
	Addr string
}

// NewBroker starts one, until the test ends.
func NewBroker(tb vaulttest.TB) *Broker {
	tb.Helper()
	b := &Broker{}
	b.Addr = vaulttest.Serve(tb, http.HandlerFunc(broker), nil)
	return b
}

func broker(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		w.WriteHeader(http.StatusCreated)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("[]"))
	}
}
