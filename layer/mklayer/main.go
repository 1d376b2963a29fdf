// Command mklayer makes the zips that Lambda unpacks into /opt, and a bill of
// materials beside each:
//
//	go run ./layer/mklayer -version v1.2.3 -out dist
//
// The same source, version and Go toolchain give the same bytes, wherever and
// whenever it runs. It is run in the module's root.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	version := flag.String("version", "dev", "version that the programs and the bills of materials carry")
	out := flag.String("out", "dist", "directory for the zips")
	arches := flag.String("arch", "amd64,arm64", "architectures, by Go's names")
	flavours := flag.String("flavour", "small,full", "small: settings by environment; full: configuration files, templates and every auth method too")
	unpacked := flag.Bool("unpacked", false, "write a directory beside each zip with the same files, for container images")
	tags := flag.String("tags", "", "build tags, as for go build")
	bill := flag.String("bill", "", "write the bill of materials of this program, made by go build, beside it, and nothing else")
	flag.Parse()
	b := builder{version: *version, tags: *tags, unpacked: *unpacked}
	if *bill != "" {
		if err := b.bill(*bill); err != nil {
			fmt.Fprintf(os.Stderr, "mklayer: %v\n", err)
			os.Exit(1)
		}
		return
	}
	if err := run(b, *out, strings.Split(*flavours, ","), strings.Split(*arches, ",")); err != nil {
		fmt.Fprintf(os.Stderr, "mklayer: %v\n", err)
		os.Exit(1)
	}
}

func run(b builder, out string, flavours, arches []string) error {
	tmp, err := os.MkdirTemp("", "mklayer-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, name := range flavours {
		f, ok := layers[name]
		if !ok {
			return fmt.Errorf("there is no flavour %q: small, full", name)
		}
		for _, arch := range arches {
			zip := filepath.Join(out, f.name+"-"+arch+".zip")
			size, err := b.layer(f, arch, tmp, zip)
			if err != nil {
				return fmt.Errorf("%s: %w", zip, err)
			}
			fmt.Printf("%s  %d bytes\n", zip, size)
		}
	}
	return nil
}
