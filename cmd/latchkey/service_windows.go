package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"

	"latchkey/internal/config"
	"latchkey/internal/retry"
)

func runService(ctx context.Context, w world, g given, args []string) int {
	verb := args[0]
	if verb == "run" {
		return underManager(ctx, w, g)
	}
	err := map[string]func(context.Context, world, given) error{
		"install": installService, "uninstall": uninstallService, "start": startService, "stop": stopService,
	}[verb](ctx, w, g)
	if err != nil {
		return fail(w.stderr, fmt.Errorf("%s service %s: %w", verb, serviceName(g), serviceHint(err)))
	}
	fmt.Fprintf(w.stdout, "service %s: %s done\n", serviceName(g), verb)
	return exitDone
}

// serviceHint makes a usage error of what the manager answers: nothing of it is
// latchkey's fault.
func serviceHint(err error) error {
	text := err.Error()
	switch {
	case as[config.Problems](err), as[*config.Problem](err), as[usageError](err):
		return err
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		text += " - run it as an administrator"
	case errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST):
		text += " - see 'latchkey service install -h'"
	}
	return usageError{text}
}

// The service comes back after a fault, more slowly each time, and is forgiven
// after a day.
var recovery = []mgr.RecoveryAction{
	{Type: mgr.ServiceRestart, Delay: 5 * time.Second},
	{Type: mgr.ServiceRestart, Delay: 30 * time.Second},
	{Type: mgr.ServiceRestart, Delay: 2 * time.Minute},
}

const forgiven = 24 * 60 * 60 // seconds

// installService registers the service, unless its configuration is at fault.
func installService(_ context.Context, w world, g given) (err error) {
	args, err := serviceArgs(find("service"), g)
	if err != nil {
		return err
	}
	s := newSetup(w, g)
	if err := s.read(g); err != nil {
		return err
	}
	if _, err := config.Check(s.file, config.ModeDaemon); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	m, err := mgr.Connect()
	if err != nil {
		return err
	}
	defer func() { _ = m.Disconnect() }()
	service, err := m.CreateService(serviceName(g), program, mgr.Config{
		StartType: mgr.StartAutomatic, ErrorControl: mgr.ErrorNormal, DisplayName: serviceName(g),
		Description: "Keeps a Vault or OpenBao token, and the secrets fetched with it, right.",
	}, args...)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, service.Delete())
		}
		_ = service.Close()
	}()
	if err := service.SetRecoveryActions(recovery, forgiven); err != nil {
		return err
	}
	if err := service.SetRecoveryActionsOnNonCrashFailures(true); err != nil {
		return err
	}
	// One of an earlier installation may name what is not there any more.
	_ = eventlog.Remove(serviceName(g))
	return eventlog.InstallAsEventCreate(serviceName(g), eventlog.Error|eventlog.Warning|eventlog.Info)
}

// uninstallService stops the service and forgets it.
func uninstallService(ctx context.Context, w world, g given) error {
	if err := stopService(ctx, w, g); err != nil && !errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) {
		return err
	}
	return managed(g, func(s *mgr.Service) error {
		err := s.Delete()
		_ = eventlog.Remove(serviceName(g))
		return err
	})
}

func startService(ctx context.Context, _ world, g given) error {
	return managed(g, func(s *mgr.Service) error {
		if err := s.Start(); err != nil {
			return err
		}
		return reaches(ctx, s, svc.Running)
	})
}

func stopService(ctx context.Context, _ world, g given) error {
	return managed(g, func(s *mgr.Service) error {
		if _, err := s.Control(svc.Stop); err != nil {
			return err
		}
		return reaches(ctx, s, svc.Stopped)
	})
}

// managed does something with the service that is installed.
func managed(g given, do func(*mgr.Service) error) error {
	m, err := mgr.Connect()
	if err != nil {
		return err
	}
	defer func() { _ = m.Disconnect() }()
	s, err := m.OpenService(serviceName(g))
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return do(s)
}

// patience is how long a service may take to start or to stop; a process that it
// supervises has 30 seconds of its own for its end.
const patience = time.Minute

// reaches waits until the service is in a state, or has stopped instead.
func reaches(ctx context.Context, s *mgr.Service, want svc.State) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		now, err := s.Query()
		switch {
		case err != nil:
			return err
		case now.State == want:
			return nil
		case now.State == svc.Stopped:
			return fmt.Errorf("it ended with exit code %d; the event log says why", now.ServiceSpecificExitCode)
		case !retry.Sleep(ctx, 200*time.Millisecond):
			return fmt.Errorf("it is still on its way: %w", context.Cause(ctx))
		}
	}
}

// underManager is the service itself, started by the service manager.
func underManager(ctx context.Context, w world, g given) int {
	if is, err := svc.IsWindowsService(); err != nil || !is {
		return fail(w.stderr, usageError{"'service run' is for the service manager of Windows; to run it here, use 'latchkey daemon'"})
	}
	name := serviceName(g)
	events, err := eventlog.Open(name)
	if err != nil {
		return exitUsage // there is nobody to tell
	}
	defer func() { _ = events.Close() }()
	// A service has no standard output, and its log goes to the event log.
	w.stdout, w.stderr, w.width = io.Discard, event(events.Error), nil
	w.logger = severityLog(event(events.Info), event(events.Warning), event(events.Error))
	s := &service{ctx: ctx, w: w, g: g}
	if err := svc.Run(name, s); err != nil {
		return fail(w.stderr, usageError{err.Error()})
	}
	return s.code
}

// event makes each line an event. The identifier is one that the message file of
// every Windows knows.
type event func(id uint32, text string) error

func (e event) Write(p []byte) (int, error) {
	return len(p), e(1, strings.TrimRight(string(p), "\r\n"))
}

// service answers the service manager.
type service struct {
	ctx  context.Context
	w    world
	g    given
	code int
}

// errServiceStop ends a daemon that the service manager stops.
var errServiceStop = errors.New("stopped by the service manager")

// Execute runs the daemon. It is Running once the configuration has been read
// and found sound. A change of parameters is what SIGHUP is elsewhere.
func (s *service) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (bool, uint32) {
	status <- svc.Status{State: svc.StartPending}
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	up, done := make(chan *signals, 1), make(chan int, 1)
	go func() { done <- stay(ctx, s.w, s.g, nil, func(sigs *signals) { up <- sigs }) }()
	var sigs *signals
	for {
		select {
		case sigs = <-up:
			status <- svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown | svc.AcceptParamChange}
		case s.code = <-done:
			return s.code != exitDone, uint32(s.code)
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				status <- r.CurrentStatus
			case svc.ParamChange:
				if sigs != nil {
					sigs.put(syscall.SIGHUP)
				}
			case svc.Stop, svc.Shutdown:
				status <- svc.Status{State: svc.StopPending, WaitHint: uint32(patience.Milliseconds())}
				cancel(errServiceStop)
			}
		}
	}
}
