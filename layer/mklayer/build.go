package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
)

// builder compiles programs so that the result follows from the source, the
// version and the toolchain, and from nothing of this machine.
type builder struct {
	version  string
	tags     string
	dir      string // of the module; the current directory when empty
	unpacked bool   // write directories too
}

// program is one file of a zip.
type program struct {
	path     string // in the zip
	content  []byte
	info     *debug.BuildInfo  // nil for one that was not compiled
	licenses map[string]string // SPDX id by module path, for those that were recognised
}

// environ says all that would otherwise come from the environment and change
// the result; the oldest processors of each architecture can run it.
func environ(arch string) []string {
	return append(os.Environ(),
		"CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0",
		"GOFLAGS=", "GOEXPERIMENT=", "GOFIPS140=off", "GOWORK=off")
}

func (b builder) build(pkg, arch, bin string) (program, error) {
	cmd := exec.Command("go", "build", "-tags", b.tags, "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version="+b.version, "-o", bin, pkg)
	cmd.Dir, cmd.Env = b.dir, environ(arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return program{}, fmt.Errorf("go build %s for %s: %w\n%s", pkg, arch, err, out)
	}
	return b.inspect(bin, arch)
}

// inspect reads a compiled program and what it was built of.
func (b builder) inspect(bin, arch string) (program, error) {
	content, err := os.ReadFile(bin)
	if err != nil {
		return program{}, err
	}
	info, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		return program{}, fmt.Errorf("what %s was built of: %w", bin, err)
	}
	licenses, err := b.licenses(info.Path, arch)
	if err != nil {
		return program{}, err
	}
	return program{content: content, info: info, licenses: licenses}, nil
}

// bill writes the bill of materials of a program that stands by itself.
func (b builder) bill(bin string) error {
	p, err := b.inspect(bin, runtime.GOARCH)
	if err != nil {
		return err
	}
	p.path = filepath.Base(bin)
	text, err := bom(p.path, b.version, p.content, []program{p})
	if err != nil {
		return err
	}
	return os.WriteFile(bin+".cdx.json", text, 0o644)
}

// licenses reads the licences of the modules that a program is built of.
func (b builder) licenses(pkg, arch string) (map[string]string, error) {
	cmd := exec.Command("go", "list", "-tags", b.tags, "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}", pkg)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stderr = b.dir, environ(arch), &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w\n%s", pkg, err, &stderr)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(out)) {
		module, dir, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if _, seen := found[module]; !ok || seen {
			continue
		}
		names, err := filepath.Glob(filepath.Join(dir, "LICEN[CS]E*"))
		if err != nil {
			return nil, err
		}
		more, err := filepath.Glob(filepath.Join(dir, "COPYING*"))
		if err != nil {
			return nil, err
		}
		for _, name := range append(names, more...) {
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			if id := license(string(text)); id != "" {
				found[module] = id
				break
			}
		}
	}
	return found, nil
}

// license recognises the licences that Go modules have, by words that only they
// use; it returns the SPDX id, or "" for one that it does not know.
func license(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	has := func(s string) bool { return strings.Contains(text, s) }
	switch {
	case has("Mozilla Public License") && has("ersion 2.0"):
		return "MPL-2.0"
	case has("Apache License Version 2.0"):
		return "Apache-2.0"
	case has("Redistribution and use in source and binary forms"):
		if has("Neither the name") || has("may be used to endorse or promote products") {
			return "BSD-3-Clause"
		}
		return "BSD-2-Clause"
	case has("Permission is hereby granted, free of charge, to any person obtaining a copy"):
		return "MIT"
	case has("Permission to use, copy, modify, and") && has("distribute this software for any purpose with or without fee"):
		return "ISC"
	}
	return ""
}
