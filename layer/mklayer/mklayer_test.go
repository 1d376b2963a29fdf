package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/lambdatest"
)

// root is where the program runs.
const root = "../.."

// maker is the program as make builds it: the race detector, with which this test may
// be built, would compress for minutes.
var maker string

// usual holds the layers that most tests look at.
var usual string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "mklayer-test-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		maker, usual = filepath.Join(dir, "mklayer"), filepath.Join(dir, "usual")
		if out, err := exec.Command("go", "build", "-o", maker, ".").CombinedOutput(); err != nil {
			panic(string(out))
		}
		return m.Run()
	}())
}

// into makes layers in a directory, as make layer does.
func into(t *testing.T, out, flavour, arches string, environ ...string) {
	t.Helper()
	cmd := exec.Command(maker, "-version", "v0.0.0-test", "-tags", "timberjack_nozstd", "-flavour", flavour, "-arch", arches, "-out", out)
	cmd.Dir, cmd.Env = root, append(os.Environ(), environ...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, f := range layers[flavour].files {
		if f.pkg == "" {
			continue
		}
		if err := lambdatest.Sources(root, f.pkg); err != nil {
			t.Fatal(err)
		}
	}
}

// small is a directory with the small layers, made once.
func small(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(usual); err != nil {
		into(t, usual, "small", "amd64,arm64")
	}
	return usual
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// What one start of a function costs is decided by these (issue 5).
const (
	smallProgram = 9_000_000
	smallZip     = 3_600_000
	// What Lambda takes without a bucket, layers of other people beside ours.
	anyZip = 50_000_000
)

func TestALayerIsWhatLambdaStarts(t *testing.T) {
	full := t.TempDir()
	into(t, full, "full", "amd64")
	for _, l := range []struct{ dir, flavour, arch string }{{small(t), "small", "amd64"}, {small(t), "small", "arm64"}, {full, "full", "amd64"}} {
		t.Run(l.flavour+" "+l.arch, func(t *testing.T) {
			checkLayer(t, read(t, l.dir, layers[l.flavour].name+"-"+l.arch+".zip"), l.flavour, l.arch)
		})
	}
}

func checkLayer(t *testing.T, packed []byte, flavour, arch string) {
	limit := anyZip
	if flavour == "small" {
		limit = smallZip
	}
	if len(packed) > limit {
		t.Errorf("the zip has %d bytes, more than %d", len(packed), limit)
	}
	z, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range z.File {
		paths = append(paths, f.Name)
		if f.CreatorVersion>>8 != 3 {
			t.Errorf("%s: attributes are not stored as Unix has them", f.Name)
		}
		if mode := f.Mode(); mode != 0o755 {
			t.Errorf("%s has mode %v", f.Name, mode)
		}
		if f.Method != zip.Deflate {
			t.Errorf("%s is stored by method %d", f.Name, f.Method)
		}
		if !f.Modified.Equal(epoch) {
			t.Errorf("%s has a time: %v", f.Name, f.Modified)
		}
		checkProgram(t, f, flavour, arch)
	}
	if want := []string{"extensions/latchkey-extension", "latchkey-exec"}; !slices.Equal(paths, want) {
		t.Errorf("it holds %q, not %q", paths, want)
	}
}

// checkProgram says whether the kernel of Lambda's machine can start a file, and
// whether it needs anything else of the place it is unpacked into.
func checkProgram(t *testing.T, f *zip.File, flavour, arch string) {
	r, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	if flavour == "small" && len(content) > smallProgram {
		t.Errorf("%s has %d bytes, more than %d", f.Name, len(content), smallProgram)
	}
	if bytes.HasPrefix(content, []byte("#!")) {
		if bytes.Contains(content, []byte("\r\n")) {
			t.Errorf("%s has the line ends of Windows: the kernel would look for an interpreter with a carriage return in its name", f.Name)
		}
		return
	}
	e, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	if e.Machine != machines[arch] || e.Class != elf.ELFCLASS64 {
		t.Errorf("%s is for %v, not for %s", f.Name, e.Machine, arch)
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is not static", f.Name)
		}
	}
	for _, s := range e.Sections {
		if strings.HasPrefix(s.Name, ".debug") || s.Name == ".symtab" {
			t.Errorf("%s carries %s", f.Name, s.Name)
		}
	}
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte(here)) {
		t.Errorf("%s names the directory it was built in", f.Name)
	}
}

// Nothing that a user's shell says about Go gets into a layer.
func TestALayerIsTheSameBitByBitWhenItIsMadeAgain(t *testing.T) {
	again := t.TempDir()
	into(t, again, "small", "amd64,arm64",
		"GOFLAGS=-race", "GOAMD64=v3", "CGO_ENABLED=1", "GOOS=windows", "GOARCH=arm", "TZ=Asia/Tokyo", "GOFIPS140=latest")
	names, err := os.ReadDir(again)
	if err != nil || len(names) != 4 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, n := range names {
		if !bytes.Equal(read(t, small(t), n.Name()), read(t, again, n.Name())) {
			t.Errorf("%s differs", n.Name())
		}
	}
}

func TestTheOrderOfFilesDoesNotChangeAZip(t *testing.T) {
	var a, b bytes.Buffer
	x, y := entry{"a/b", []byte("one")}, entry{"c", []byte("two")}
	if err := pack(&a, []entry{x, y}); err != nil {
		t.Fatal(err)
	}
	if err := pack(&b, []entry{y, x}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two zips of the same files differ")
	}
}

func TestUnpackingLeavesNothingOfAnOlderLayer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layer")
	for _, entries := range [][]entry{
		{{"extensions/old", []byte("1")}},
		{{"extensions/new", []byte("2")}, {"wrapper", []byte("3")}},
	} {
		if err := unpack(dir, entries); err != nil {
			t.Fatal(err)
		}
	}
	found, err := filepath.Glob(filepath.Join(dir, "extensions", "*"))
	if err != nil || len(found) != 1 || filepath.Base(found[0]) != "new" {
		t.Errorf("%v, %v", found, err)
	}
	if i, err := os.Stat(filepath.Join(dir, "wrapper")); err != nil || i.Mode().Perm()&0o111 != 0o111 {
		t.Errorf("%v, %v", i, err)
	}
}

func TestAFlavourThatIsNotThereIsNamed(t *testing.T) {
	err := run(builder{dir: root}, t.TempDir(), []string{"medium"}, []string{"amd64"})
	if err == nil || !strings.Contains(err.Error(), `"medium"`) {
		t.Error(err)
	}
}

func TestTheBillOfMaterialsNamesWhatIsInTheZip(t *testing.T) {
	dir := small(t)
	dec := json.NewDecoder(bytes.NewReader(read(t, dir, "latchkey-extension-arm64.cdx.json")))
	dec.DisallowUnknownFields()
	var d document
	if err := dec.Decode(&d); err != nil {
		t.Fatal(err)
	}
	packed := read(t, dir, "latchkey-extension-arm64.zip")
	sum := sha256.Sum256(packed)
	if d.Metadata.Component.Hashes[0].Content != hex.EncodeToString(sum[:]) {
		t.Error("it is about another zip")
	}
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(d.Serial) {
		t.Errorf("serial number %s", d.Serial)
	}
	refs := map[string]component{}
	for _, c := range append(d.Components, d.Metadata.Component) {
		if _, twice := refs[c.Ref]; twice || c.Ref == "" {
			t.Errorf("reference %q is there twice, or empty", c.Ref)
		}
		refs[c.Ref] = c
		if c.Type == "library" && (c.PURL == "" || c.Version == "" || len(c.Licenses) == 0) {
			t.Errorf("%s: version %q, purl %q, licences %v", c.Name, c.Version, c.PURL, c.Licenses)
		}
	}
	z, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			t.Fatal(err)
		}
		c := refs["latchkey-extension-arm64.zip#"+f.Name]
		if len(c.Hashes) != 1 || c.Hashes[0].Content != hex.EncodeToString(h.Sum(nil)) {
			t.Errorf("%s: %v", f.Name, c.Hashes)
		}
		if compiled := f.Name != "latchkey-exec"; compiled != slices.Contains(c.Properties, property{"go:build:GOARCH", "arm64"}) {
			t.Errorf("%s: %v", f.Name, c.Properties)
		}
	}
	if len(d.Dependencies) != len(refs) {
		t.Errorf("%d of %d components say what they need", len(d.Dependencies), len(refs))
	}
	for _, dep := range d.Dependencies {
		for _, ref := range append(dep.DependsOn, dep.Ref) {
			if _, ok := refs[ref]; !ok {
				t.Errorf("%s needs %s, which is not listed", dep.Ref, ref)
			}
		}
	}
}

func TestALicenceIsRecognisedByItsWords(t *testing.T) {
	for want, text := range map[string]string{
		"MPL-2.0":      "Mozilla Public License, version 2.0\n\n1. Definitions",
		"Apache-2.0":   "      Apache License\n  Version 2.0, January 2004",
		"BSD-3-Clause": "Redistribution and use in source and binary forms, with or\nwithout ... Neither the name of Google Inc.",
		"BSD-2-Clause": "Redistribution and use in source and binary forms, with or without",
		"MIT":          "Permission is hereby granted, free of charge,\nto any person obtaining a copy",
		"ISC":          "Permission to use, copy, modify, and distribute this software for any purpose with or without fee",
		"":             "All rights reserved",
	} {
		if got := license(text); got != want {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	}
}
