package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

func runCompletion(_ context.Context, w world, _ given, args []string) int {
	map[string]func(io.Writer){"bash": completeBash, "zsh": completeZsh, "fish": completeFish}[args[0]](w.stdout)
	return exitDone
}

func completeBash(w io.Writer) {
	fmt.Fprint(w, "# bash completion for latchkey\n_latchkey() {\n"+
		"  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=${COMP_WORDS[1]} flag dash=\n"+
		"  local IFS=$' \\t\\n'\n"+
		"  COMPREPLY=()\n"+
		"  # '=' splits words, so a flag's value may be the word after '='.\n"+
		"  flag=$prev; [[ $prev == '=' ]] && flag=${COMP_WORDS[COMP_CWORD-2]}\n"+
		"  [[ $cur == '=' ]] && { flag=$prev; cur=; }\n"+
		"  flag=${flag#-}; flag=${flag#-}\n"+
		"  case $cmd in -*) cmd=agent;; esac\n"+
		"  # A flag with two dashes is one with a dash before it.\n"+
		"  case $cur in --*) dash=-;; esac\n"+
		"  case \"$cmd/$flag\" in\n")
	for _, c := range commands() {
		for _, o := range c.options() {
			if act := bashAction(o); act != "" {
				fmt.Fprintf(w, "    %s/%s) %s; return;;\n", c.name, o.name, act)
			}
		}
	}
	fmt.Fprint(w, "  esac\n  case $COMP_CWORD:$cur in\n    1:-*) ;;\n    1:*) COMPREPLY=($(compgen -W '"+commandNames()+"' -- \"$cur\")); return;;\n  esac\n  case $cmd in\n")
	for _, c := range commands() {
		verbs := ""
		if len(c.verbs) > 0 {
			verbs = "[[ $COMP_CWORD == 2 ]] && COMPREPLY=($(compgen -W '" + strings.Join(c.verbs, " ") + "' -- \"$cur\")) || "
		}
		fmt.Fprintf(w, "    %s) %sCOMPREPLY=($(compgen -P \"$dash\" -W '%s' -- \"${cur#$dash}\"));;\n", c.name, verbs, flagNames(c))
	}
	fmt.Fprint(w, "  esac\n}\ncomplete -F _latchkey latchkey\n")
}

func bashAction(o option) string {
	switch {
	case len(o.values) == 1 && o.values[0] == "file":
		return `COMPREPLY=($(compgen -f -- "$cur"))`
	case len(o.values) == 1 && o.values[0] == "dir":
		return `COMPREPLY=($(compgen -d -- "$cur"))`
	case len(o.values) > 0:
		return `COMPREPLY=($(compgen -W '` + strings.Join(o.values, " ") + `' -- "$cur"))`
	case o.arg != "":
		return "COMPREPLY=()"
	}
	return ""
}

func completeZsh(w io.Writer) {
	fmt.Fprint(w, "#compdef latchkey\n_latchkey() {\n  local -a cmds\n  cmds=(\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "    %s\n", quoteZsh(c.name+":"+c.short))
	}
	fmt.Fprint(w, "  )\n  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then _describe command cmds; return; fi\n"+
		"  local cmd=$words[2]\n  [[ $cmd == -* ]] && cmd=agent || { shift words; (( CURRENT-- )); }\n  case $cmd in\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "    %s) _arguments", c.name)
		if len(c.verbs) > 0 {
			fmt.Fprintf(w, " '1:what:(%s)'", strings.Join(c.verbs, " "))
		}
		for _, o := range c.options() {
			fmt.Fprintf(w, " \\\n      %s", quoteZsh(zshSpec(o)))
		}
		fmt.Fprint(w, ";;\n")
	}
	fmt.Fprint(w, "  esac\n}\ncompdef _latchkey latchkey\n")
}

func zshSpec(o option) string {
	doc := strings.NewReplacer("[", "(", "]", ")", ":", " ").Replace(o.doc)
	spec := "-" + o.name
	if o.many {
		spec = "*" + spec
	}
	if o.arg == "" {
		return spec + "[" + doc + "]"
	}
	act := " "
	switch {
	case len(o.values) == 1 && o.values[0] == "file":
		act = "_files"
	case len(o.values) == 1 && o.values[0] == "dir":
		act = "_files -/"
	case len(o.values) > 0:
		act = "(" + strings.Join(o.values, " ") + ")"
	}
	eq := "="
	if o.optional {
		eq = "=-"
	}
	return spec + eq + "[" + doc + "]:" + o.arg + ":" + act
}

func quoteZsh(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func completeFish(w io.Writer) {
	fmt.Fprint(w, "# fish completion for latchkey\ncomplete -c latchkey -f\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "complete -c latchkey -n __fish_use_subcommand -a %s -d %s\n", c.name, quoteFish(c.short))
		seen := "'__fish_seen_subcommand_from " + c.name + "'"
		if len(c.verbs) > 0 {
			fmt.Fprintf(w, "complete -c latchkey -n %s -a '%s'\n", seen, strings.Join(c.verbs, " "))
		}
		for _, o := range c.options() {
			fmt.Fprintf(w, "complete -c latchkey -n %s -o %s -l %s -d %s%s\n", seen, o.name, o.name, quoteFish(o.doc), fishAction(o))
		}
	}
}

func fishAction(o option) string {
	switch {
	case o.arg == "" || o.optional:
		return ""
	case len(o.values) == 1 && o.values[0] == "file":
		return " -r -F"
	case len(o.values) == 1 && o.values[0] == "dir":
		return " -r -a '(__fish_complete_directories)'"
	case len(o.values) > 0:
		return " -x -a '" + strings.Join(o.values, " ") + "'"
	}
	return " -x"
}

func quoteFish(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

func commandNames() string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return strings.Join(names, " ")
}

func flagNames(c *command) string {
	var names []string
	for _, o := range c.options() {
		names = append(names, "-"+o.name)
	}
	return strings.Join(names, " ")
}
