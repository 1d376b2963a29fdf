package main

import (
	"fmt"
	"path/filepath"
	"slices"
)

const serviceHelp = `Usage: latchkey service install -config FILE [flags]
       latchkey service uninstall|start|stop [-name=NAME]

Windows only. Elsewhere a service manager runs 'latchkey daemon'; for systemd,
see samples/systemd/.

  install    register a service that starts with the machine, is started again
             after a fault, and runs 'latchkey daemon' with these flags
  uninstall  stop it and forget it
  start      start it, and wait until its configuration is read
  stop       stop it, and wait
  run        what the service manager itself starts

Its log goes to the event log, and to log_file. 'sc control NAME paramchange'
does what SIGHUP does elsewhere.
`

// serviceVerbs are what 'latchkey service' can be told.
var serviceVerbs = []string{"install", "uninstall", "start", "stop", "run"}

// serviceOption names the service, for all verbs.
const serviceOption = "name"

// serviceName is what the service is called when nobody says.
func serviceName(g given) string {
	if name := g[serviceOption]; name != "" {
		return name
	}
	return "latchkey"
}

// serviceArgs is the command line with which the system starts the service that
// is installed with these flags. It starts elsewhere, so paths become absolute.
func serviceArgs(c *command, g given) ([]string, error) {
	if !g.has("config") {
		return nil, usageError{"the service needs -config, for it does not see this environment"}
	}
	if g.has("header") {
		return nil, usageError{"-header may hold a secret, and everybody can read a service's command line: set VAULT_HEADERS in the service's environment"}
	}
	args := []string{"service", "run"}
	for _, o := range c.options() {
		for _, v := range g.list(o.name) {
			if slices.Equal(o.values, []string{"file"}) || slices.Equal(o.values, []string{"dir"}) {
				abs, err := filepath.Abs(v)
				if err != nil {
					return nil, fmt.Errorf("-%s=%s: %w", o.name, v, err)
				}
				v = abs
			}
			args = append(args, "-"+o.name+"="+v)
		}
	}
	return args, nil
}
