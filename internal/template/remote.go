package template

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strconv"
	"strings"
	"sync"
	"time"

	dep "github.com/hashicorp/consul-template/dependency"
	consul "github.com/hashicorp/consul/api"

	"latchkey/internal/retry"
)

// remote asks Consul and Nomad for the library's functions. The clients are
// made when the first template needs them.
//
// It is safe for concurrent use.
type remote struct {
	env     map[string]string
	clients *dep.ClientSet

	mu      sync.Mutex
	made    map[dep.Type]error
	flights map[string]*flight

	// timeout bounds one query, schedule repeats it.
	timeout  time.Duration
	schedule retry.Schedule
}

func newRemote(env map[string]string) *remote {
	return &remote{
		env: env, clients: dep.NewClientSet(), made: map[dep.Type]error{}, flights: map[string]*flight{},
		timeout:  30 * time.Second,
		schedule: retry.Schedule{Attempts: 4, Base: 250 * time.Millisecond, Max: 2 * time.Second, Jitter: 0.5},
	}
}

// silenceLibrary keeps the library's trace lines, which quote the values that Consul
// returned, out of the process-wide standard log.
func silenceLibrary() { log.SetOutput(io.Discard) }

// fetchAll runs the queries side by side, hands over the answers, one at a time,
// and returns what failed by the name of the query.
func (r *remote) fetchAll(ctx context.Context, deps map[string]dep.Dependency, got func(dep.Dependency, any)) map[string]error {
	if len(deps) == 0 {
		return nil
	}
	failed := map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, d := range deps {
		wg.Go(func() {
			data, err := r.fetch(ctx, d)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[name] = fmt.Errorf("%w: %s: %w", kindOf(err), name, err)
				return
			}
			got(d, data)
		})
	}
	wg.Wait()
	return failed
}

var errAbsent = errors.New("does not exist")

func kindOf(err error) error {
	if errors.Is(err, errAbsent) {
		return ErrMissing
	}
	return ErrRender
}

// fetch runs one query, and again by schedule where that may help.
func (r *remote) fetch(ctx context.Context, d dep.Dependency) (data any, err error) {
	if err := r.client(d.Type()); err != nil {
		return nil, err
	}
	err = retry.Do(ctx, r.schedule, d.String(), nil, func(ctx context.Context) error {
		data, err = r.try(ctx, d)
		var status consul.StatusError
		if errors.As(err, &status) && status.Code >= 400 && status.Code < 500 && status.Code != 429 {
			return retry.Permanent(err)
		}
		if errors.Is(err, errAbsent) {
			return retry.Permanent(err)
		}
		return err
	})
	return data, err
}

// flight is a query under way; its fields are there when done is closed.
type flight struct {
	done chan struct{}
	data any
	meta *dep.ResponseMetadata
	err  error
}

// try runs one query. The library's queries know no context: when ctx ends or
// the time is up first, the query is left to itself and not tried again; it ends
// with its connection. Waiting for it would hang the run. Who asks the same again
// meanwhile waits for that one, so that a server that never answers holds one
// goroutine for each query and not one for each attempt.
func (r *remote) try(ctx context.Context, d dep.Dependency) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	name := d.String()
	r.mu.Lock()
	f := r.flights[name]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		r.flights[name] = f
		var wg sync.WaitGroup
		wg.Go(func() {
			defer close(f.done)
			f.data, f.meta, f.err = d.Fetch(r.clients, &dep.QueryOptions{})
			r.mu.Lock()
			delete(r.flights, name)
			r.mu.Unlock()
		})
	}
	r.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, retry.Permanent(context.Cause(ctx))
	case <-f.done:
		if f.err == nil && f.data == nil && f.meta != nil && f.meta.BlockOnNil {
			return nil, errAbsent
		}
		return f.data, f.err
	}
}

// client makes the client for a kind of query, once.
func (r *remote) client(t dep.Type) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	silenceLibrary()
	err, ok := r.made[t]
	if ok {
		return err
	}
	switch t {
	case dep.TypeConsul:
		err = r.clients.CreateConsulClient(r.consul())
	case dep.TypeNomad:
		err = r.clients.CreateNomadClient(r.nomad())
	default:
		err = errors.New("neither Consul nor Nomad")
	}
	r.made[t] = err
	return err
}

const (
	dialTimeout = 10 * time.Second
	idleConns   = 10
)

func (r *remote) consul() *dep.CreateConsulClientInput {
	user, password, auth := strings.Cut(r.env["CONSUL_HTTP_AUTH"], ":")
	return &dep.CreateConsulClientInput{
		Address:      r.env["CONSUL_HTTP_ADDR"],
		Namespace:    r.env["CONSUL_NAMESPACE"],
		Token:        r.env["CONSUL_HTTP_TOKEN"],
		TokenFile:    r.env["CONSUL_HTTP_TOKEN_FILE"],
		AuthEnabled:  auth || user != "",
		AuthUsername: user,
		AuthPassword: password,
		SSLEnabled:   truth(r.env["CONSUL_HTTP_SSL"], false) || strings.HasPrefix(r.env["CONSUL_HTTP_ADDR"], "https://"),
		SSLVerify:    truth(r.env["CONSUL_HTTP_SSL_VERIFY"], true),
		SSLCert:      r.env["CONSUL_CLIENT_CERT"],
		SSLKey:       r.env["CONSUL_CLIENT_KEY"],
		SSLCACert:    r.env["CONSUL_CACERT"],
		SSLCAPath:    r.env["CONSUL_CAPATH"],
		ServerName:   r.env["CONSUL_TLS_SERVER_NAME"],

		TransportDialTimeout:         dialTimeout,
		TransportTLSHandshakeTimeout: dialTimeout,
		TransportMaxIdleConns:        idleConns,
		TransportMaxIdleConnsPerHost: idleConns,
		TransportMaxConnsPerHost:     idleConns,
	}
}

func (r *remote) nomad() *dep.CreateNomadClientInput {
	user, password, _ := strings.Cut(r.env["NOMAD_HTTP_AUTH"], ":")
	return &dep.CreateNomadClientInput{
		Address:      r.env["NOMAD_ADDR"],
		Namespace:    r.env["NOMAD_NAMESPACE"],
		Token:        r.env["NOMAD_TOKEN"],
		AuthUsername: user,
		AuthPassword: password,
		SSLEnabled:   strings.HasPrefix(r.env["NOMAD_ADDR"], "https://"),
		SSLVerify:    !truth(r.env["NOMAD_SKIP_VERIFY"], false),
		SSLCert:      r.env["NOMAD_CLIENT_CERT"],
		SSLKey:       r.env["NOMAD_CLIENT_KEY"],
		SSLCACert:    r.env["NOMAD_CACERT"],
		SSLCAPath:    r.env["NOMAD_CAPATH"],
		ServerName:   r.env["NOMAD_TLS_SERVER_NAME"],

		TransportDialTimeout:         dialTimeout,
		TransportTLSHandshakeTimeout: dialTimeout,
		TransportMaxIdleConns:        idleConns,
		TransportMaxIdleConnsPerHost: idleConns,
		TransportMaxConnsPerHost:     idleConns,
	}
}

func truth(s string, def bool) bool {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return def
	}
	return b
}
