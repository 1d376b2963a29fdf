package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// command is one subcommand.
type command struct {
	name string
	// short is a line for the overview, long what -h says above the flags.
	short, long string
	groups      [][]option
	// verbs are what the first argument may be, before the flags; without
	// them there are flags only.
	verbs []string
	run   func(context.Context, world, given, []string) int
}

func (c *command) options() []option { return slices.Concat(c.groups...) }

// commands is the whole surface, in the order the overview shows it.
func commands() []*command { return slices.Concat(working(), asking()) }

// working are the commands that log in.
func working() []*command {
	return []*command{
		{
			name: "once", short: "log in, write every sink, render every template, exit",
			long: `Usage: latchkey once -config FILE [flags]

Logs in, writes every sink and renders every template of the configuration,
then exits. It never stays: a fault that no waiting mends ends it at once, any
other when -timeout is over. Every file appears whole or not at all.

` + exitCodesHelp,
			groups: [][]option{configOptions, runOptions, serverOptions, logOptions}, run: runOnce,
		},
		{
			name: "daemon", short: "stay: keep token, files and child process right",
			long: `Usage: latchkey daemon -config FILE [flags]

Logs in and stays: renews the token and logs in again before it ends, keeps the
sinks and the files of templates as they should be, supervises the process of
exec, and says how it is on a listener or on status_socket ('latchkey status').

SIGHUP reads the configuration again and starts again what it says otherwise;
one that is wrong changes nothing. SIGUSR1 prints the metrics on standard error
and SIGUSR2 writes profiles, unless there is a child process: it gets these two,
and every other signal that means something to it. SIGTERM and SIGINT end all,
the child first; a second one ends all at once.

` + daemonCodesHelp,
			groups: [][]option{configOptions, daemonOptions, serverOptions, logOptions}, run: runDaemon,
		},
		{
			name: "agent", short: "drop-in for 'vault agent': same flags, same environment",
			long: `Usage: latchkey agent -config FILE [flags]

Takes the flags, the environment and the files of 'vault agent'. It is a
one-shot when the file says exit_after_auth or -exit-after-auth is given, and
then does what 'latchkey once' does; else it stays, as 'latchkey daemon' does.

` + exitCodesHelp + `When it stays, those of 'latchkey daemon'.
`,
			groups: [][]option{configOptions, agentOptions, runOptions, serverOptions, logOptions}, run: runAgent,
		},
		{
			name: "service", short: "be a service of Windows", verbs: serviceVerbs,
			long:   serviceHelp,
			groups: [][]option{serviceOptions, configOptions, daemonOptions, serverOptions, logOptions}, run: runService,
		},
	}
}

// asking are the commands that answer a question.
func asking() []*command {
	return []*command{
		{
			name: "check", short: "validate a configuration, and with -online every step of it",
			long: `Usage: latchkey check -config FILE [flags]

Validates the configuration without touching the network and says which
address, namespace and token are in effect, and why. Exit code 0 or 2.

With -online it goes on and proves each step, stopping at the first that
fails: the address resolves, TCP, TLS, the server's health, login, the token's
policies and time to live, that the token may read every path the templates
name, and that every file can be written. It reads no secret, leaves nothing
behind and revokes its token; that of a token_file is not its own and stays.
Exit codes then are those of 'latchkey once'.
`,
			groups: [][]option{configOptions, checkOptions, serverOptions, logOptions}, run: runCheck,
		},
		{
			name: "status", short: "how the daemon is: a table, or JSON",
			long: `Usage: latchkey status [-config FILE | -socket PATH | -address URL] [flags]

Asks a daemon on this machine how it is: its token, and each sink, template and
lease with its age, what comes next and its last error. With -config it looks
where that configuration has the daemon listen: its status_socket, else its
first listener.

Exit codes:
  0  it answers, and is ready
  2  usage or configuration
  5  nobody answers
  7  it answers, and is not ready; the reasons are in what is printed
`,
			groups: [][]option{statusOptions}, run: runStatus,
		},
		{
			name: "version", short: "print the version",
			long: "Usage: latchkey version\n", run: runVersion,
		},
		{
			name: "completion", short: "print a completion script for bash, zsh or fish",
			long: `Usage: latchkey completion bash|zsh|fish

  bash:  source <(latchkey completion bash)
  zsh:   source <(latchkey completion zsh)
  fish:  latchkey completion fish | source
`, verbs: []string{"bash", "zsh", "fish"}, run: runCompletion,
		},
	}
}

// run chooses the command and answers with the exit code.
func run(ctx context.Context, w world) int {
	name, args := "", w.args
	switch {
	case runsInLambda(w):
		return runExtension(ctx, w)
	case len(args) == 0:
		overview(w.stderr)
		return exitUsage
	case slices.Contains([]string{"-h", "-help", "--help", "help"}, args[0]):
		return help(w, args[1:])
	case slices.Contains([]string{"-version", "--version", "-v"}, args[0]):
		name, args = "version", nil
	case strings.HasPrefix(args[0], "-"):
		// Flags alone: the configuration chooses, as for vault agent.
		name = "agent"
	default:
		name, args = args[0], args[1:]
	}
	c := find(name)
	if c == nil {
		return fail(w.stderr, usageError{fmt.Sprintf("unknown command %q; see 'latchkey -h'", name)})
	}
	g, rest, err := parse(c, args)
	switch {
	case err == errHelp:
		usage(w.stdout, c)
		return exitDone
	case err != nil:
		return fail(w.stderr, err)
	}
	return c.run(ctx, w, g, rest)
}

func find(name string) *command {
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return nil
}

// help answers 'latchkey help [COMMAND]'.
func help(w world, args []string) int {
	if len(args) == 0 {
		overview(w.stdout)
		return exitDone
	}
	c := find(args[0])
	if c == nil {
		return fail(w.stderr, usageError{fmt.Sprintf("unknown command %q; see 'latchkey -h'", args[0])})
	}
	usage(w.stdout, c)
	return exitDone
}

func overview(w io.Writer) {
	fmt.Fprint(w, `latchkey fetches credentials from HashiCorp Vault and OpenBao, puts them where
the program needs them, and exits, or stays and keeps them right.

Usage: latchkey COMMAND [flags]
       latchkey -config FILE [flags]    the configuration chooses, as for vault agent

Commands:
`)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-11s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, "\n'latchkey COMMAND -h' explains each. Flags take one dash or two.\n")
}

// usage prints what -h of a command says.
func usage(w io.Writer, c *command) {
	fmt.Fprint(w, c.long)
	if len(c.groups) == 0 {
		return
	}
	fmt.Fprint(w, "\nFlags (a flag beats the environment, which beats the file):\n")
	for _, o := range c.options() {
		name := "-" + o.name
		switch {
		case o.optional:
			name += "[=" + o.arg + "]"
		case o.arg != "":
			name += "=" + o.arg
		}
		doc := o.doc
		if o.env != "" {
			doc += " [VAULT_" + o.env + ", BAO_" + o.env + "]"
		}
		fmt.Fprintf(w, "  %s\n", name)
		for _, line := range wrap(doc, 70) {
			fmt.Fprintf(w, "        %s\n", line)
		}
	}
}

// wrap breaks text at spaces into lines of at most width characters.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
