// Package systemd tells systemd how the service is: ready, reloading, stopping,
// what it does just now, and that it is alive.
//
// Everything here does nothing where systemd did not start the process, so a
// caller need not ask. The socket and the watchdog's time come from NOTIFY_SOCKET
// and WATCHDOG_USEC, which the library looks up at each call; take both out of
// the environment of children (see Private), who would speak in our name.
package systemd

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notifier sends notifications. It is safe for concurrent use. A notification
// that cannot be sent is no reason to stop serving: the first is logged as a
// warning, and again only when one has been sent in between.
type Notifier struct {
	log  *slog.Logger
	told atomic.Bool
}

// New returns a Notifier that logs to log.
func New(log *slog.Logger) *Notifier { return &Notifier{log: log} }

// Ready says that the start, or a reload, is done.
func (n *Notifier) Ready() { n.send(daemon.SdNotifyReady) }

// Reloading says that a reload begins; Ready must follow, whatever becomes of
// it. It carries the time that Type=notify-reload asks for.
func (n *Notifier) Reloading() {
	n.send(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// Stopping says that the end has begun.
func (n *Notifier) Stopping() { n.send(daemon.SdNotifyStopping) }

// Status is what 'systemctl status' shows, one line. It goes into the journal:
// never a secret.
func (n *Notifier) Status(text string) { n.send("STATUS=" + strings.Join(strings.Fields(text), " ")) }

// Watchdog reports twice within WatchdogSec that the service lives, as long as
// alive says so, until ctx ends; it returns ctx's cause. It only waits for that
// where no watchdog is set. An alive that does not return is not alive.
func (n *Notifier) Watchdog(ctx context.Context, alive func() bool) error {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.log.Warn("systemd's watchdog time cannot be read: the watchdog is not served", "error", err)
	}
	if err != nil || every <= 0 {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	tick := time.NewTicker(max(every/2, time.Millisecond))
	defer tick.Stop()
	for was := true; ; {
		is := alive()
		switch {
		case is:
			n.send(daemon.SdNotifyWatchdog)
		case was:
			n.log.Error("not alive any more: systemd will end this process when WatchdogSec is over", "watchdog", every)
		}
		was = is
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (n *Notifier) send(state string) {
	_, err := daemon.SdNotify(false, state)
	switch {
	case err == nil:
		n.told.Store(false)
	case !n.told.Swap(true):
		n.log.Warn("systemd was not notified", "error", err)
	}
}

// private are the variables by which systemd speaks to one process.
var private = []string{"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}

// Private reports whether an entry NAME=value of the environment is for this
// process alone, and must not reach a child.
func Private(entry string) bool {
	name, _, _ := strings.Cut(entry, "=")
	for _, p := range private {
		if name == p {
			return true
		}
	}
	return false
}
