package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-metrics"

	"latchkey/internal/config"
	"latchkey/internal/retry"
)

const (
	// queueLen is how many lines wait while the other side is not there; more
	// are dropped, and their number is logged.
	queueLen = 4096
	// gather is how long lines are collected for one packet, and packetLen how
	// long a packet gets: what goes through an Ethernet in one piece.
	gather    = 100 * time.Millisecond
	packetLen = 1400
	// dialTimeout and sendTimeout bound connecting and sending one packet; the
	// second one is short because no context ends it.
	dialTimeout = time.Second
	sendTimeout = 300 * time.Millisecond
)

// again is how often an address that failed is tried.
var again = retry.Schedule{Base: time.Second, Max: 30 * time.Second, Jitter: 0.25}

// pusher sends lines to one address.
type pusher struct {
	name             string // "statsd", for the log
	network, address string
	write            dialect
	log              *slog.Logger

	queue   chan string
	dropped atomic.Int64

	// What only run looks at.
	conn   net.Conn
	packet bytes.Buffer // not delivered yet, in whole lines
	fails  int          // since the outage began, 0 for none
	sends  int          // that succeeded since the last failure
}

func (p *pusher) gauge(key []string, v float64, l []metrics.Label) { p.put(p.write(key, v, "g", l)) }

func (p *pusher) counter(key []string, n float64, l []metrics.Label) {
	p.put(p.write(key, n, "c", l))
}

func (p *pusher) sample(key []string, v float64, l []metrics.Label) {
	p.put(p.write(key, v, "ms", l))
}

// put never blocks: who reports has something better to do than to wait.
func (p *pusher) put(line string) {
	select {
	case p.queue <- line:
	default:
		p.dropped.Add(1)
	}
}

// run sends until ctx ends, and then what is left within lastWords.
func (p *pusher) run(ctx context.Context) {
	defer func() {
		if p.conn != nil {
			_ = p.conn.Close()
			p.conn = nil
		}
	}()
	for p.collect(ctx) {
		if err := p.send(ctx); err == nil {
			p.well()
			continue
		} else if ctx.Err() == nil {
			p.ill(err)
		}
		retry.Until(ctx, time.Now().Add(again.Wait(p.fails)), nil)
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	for p.more() || p.packet.Len() > 0 {
		if err := p.send(end); err != nil {
			return // already known, or too late to matter
		}
	}
}

// collect waits for lines and gathers a packet of them; false when ctx is over.
func (p *pusher) collect(ctx context.Context) bool {
	if p.packet.Len() == 0 {
		select {
		case <-ctx.Done():
			return false
		case line := <-p.queue:
			p.packet.WriteString(line)
		}
	}
	full := time.NewTimer(gather)
	defer full.Stop()
	for p.packet.Len() < packetLen {
		select {
		case <-ctx.Done():
			return false
		case <-full.C:
			return true
		case line := <-p.queue:
			p.packet.WriteString(line)
		}
	}
	return ctx.Err() == nil
}

// more fills the packet from what waits; false when nothing was added.
func (p *pusher) more() bool {
	added := false
	for p.packet.Len() < packetLen {
		select {
		case line := <-p.queue:
			p.packet.WriteString(line)
			added = true
		default:
			return added
		}
	}
	return added
}

// send delivers what is gathered, in packets.
func (p *pusher) send(ctx context.Context) error {
	if p.conn == nil {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		conn, err := new(net.Dialer).DialContext(ctx, p.network, p.address)
		if err != nil {
			return err
		}
		p.conn = conn
	}
	for p.packet.Len() > 0 {
		if err := p.conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
			return p.broken(err)
		}
		n := head(p.packet.Bytes())
		if _, err := p.conn.Write(p.packet.Bytes()[:n]); err != nil {
			return p.broken(err)
		}
		p.packet.Next(n)
		if ctx.Err() != nil && p.packet.Len() > 0 {
			return context.Cause(ctx)
		}
	}
	return nil
}

// broken gives the connection up; the packet is kept for the next one.
func (p *pusher) broken(err error) error {
	_ = p.conn.Close()
	p.conn = nil
	return err
}

// head is how many bytes of whole lines go into one packet, at least one line.
func head(b []byte) int {
	if len(b) <= packetLen {
		return len(b)
	}
	if i := bytes.LastIndexByte(b[:packetLen], '\n'); i >= 0 {
		return i + 1
	}
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

// ill logs the first failure of an outage.
func (p *pusher) ill(err error) {
	p.fails++
	p.sends = 0
	if p.fails == 1 {
		p.log.Warn("metrics cannot be sent", "to", p.name, "address", p.address, "error", err)
	}
}

// enough is how many sends end an outage: that nobody receives a datagram is told
// with the next one at the earliest.
const enough = 3

// well logs the end of an outage, and what was lost in it.
func (p *pusher) well() {
	if p.sends++; p.sends < enough && p.fails > 0 {
		return
	}
	if lost := p.dropped.Swap(0); lost > 0 {
		p.log.Warn("metrics were dropped because too many waited", "to", p.name, "lines", lost)
	}
	if p.fails > 0 {
		p.log.Info("metrics are sent again", "to", p.name, "address", p.address)
	}
	p.fails = 0
}

// outlets makes the pushers and the exporter that the stanza names.
func (p *pipe) outlets() error {
	c := p.c
	host := hostIn(p.naming())
	for _, o := range []struct {
		key, name, network, address string
		write                       dialect
	}{
		{"statsd_address", "statsd", "udp", c.StatsdAddress, statsd},
		{"statsite_address", "statsite", "tcp", c.StatsiteAddress, statsd},
		{"dogstatsd_addr", "DogStatsD", "udp", c.DogstatsdAddr, dogstatsd(host, p.dogTags())},
	} {
		if o.address == "" {
			continue
		}
		path, isPath := strings.CutPrefix(o.address, "unix://")
		switch {
		case isPath && o.key == "dogstatsd_addr" && path != "":
			o.network, o.address = "unixgram", path
		case !hostPort(o.address):
			return p.problem(o.key, fmt.Sprintf("%q is no address", o.address), "host:port")
		}
		p.pushers = append(p.pushers, &pusher{
			name: o.name, network: o.network, address: o.address, write: o.write, log: p.o.Log,
			queue: make(chan string, queueLen),
		})
	}
	var err error
	p.otlp, err = newExporter(p)
	return err
}

func (p *pipe) dogTags() []string {
	tags := p.c.DogstatsdTags
	if p.o.Cluster != "" {
		tags = append(tags[:len(tags):len(tags)], "cluster:"+p.o.Cluster)
	}
	return tags
}

func hostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && host != "" && port != "" && !strings.ContainsAny(s, "/ ")
}

func (p *pipe) problem(key, text, hint string) error {
	return &config.Problem{Pos: p.c.Pos, Key: "telemetry." + key, Text: text, Hint: hint}
}
