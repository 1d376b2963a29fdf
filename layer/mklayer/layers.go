package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// A layer is what one flavour puts into /opt.
type layer struct {
	name  string // of the zip, without architecture
	files []file
}

// file is one program of a layer.
type file struct {
	path string // below /opt
	pkg  string // what it is built of
	tags string // build tags of its own
	text string // what it is, in place of pkg
}

// wrapper is latchkey-exec where its work is left to the extension's own file: the
// kernel starts that one, which becomes the runtime. A program of its own would start
// a millisecond of CPU sooner, and be a sixth of the zip that every function loads.
const wrapper = "#!/opt/extensions/latchkey-extension exec\n"

// Lambda starts every regular file in extensions/, so nothing else may lie
// there. A function's configuration names the wrapper: /opt/latchkey-exec.
var layers = map[string]layer{
	"small": {name: "latchkey-extension", files: []file{
		// One request at a time gains nothing by HTTP/2, whose tables cost every start.
		{path: "extensions/latchkey-extension", pkg: "./cmd/latchkey-extension", tags: "nethttpomithttp2"},
		{path: "latchkey-exec", text: wrapper},
	}},
	"full": {name: "latchkey-extension-full", files: []file{
		{path: "extensions/latchkey-extension", pkg: "./cmd/latchkey"},
		{path: "latchkey-exec", pkg: "./cmd/latchkey-exec"},
	}},
}

// layer builds one zip, and its bill of materials beside it, using tmp for what
// comes between. It returns the size of the zip.
func (b builder) layer(l layer, arch, tmp, zip string) (int, error) {
	var entries []entry
	var programs []program
	for _, f := range l.files {
		if f.text != "" {
			entries = append(entries, entry{f.path, []byte(f.text)})
			programs = append(programs, program{path: f.path, content: []byte(f.text)})
			continue
		}
		bin := filepath.Join(tmp, arch+"-"+filepath.Base(f.pkg))
		b := b
		b.tags = strings.Trim(b.tags+","+f.tags, ",")
		p, err := b.build(f.pkg, arch, bin)
		if err != nil {
			return 0, err
		}
		p.path = f.path
		programs = append(programs, p)
		entries = append(entries, entry{f.path, p.content})
	}
	var packed bytes.Buffer
	if err := pack(&packed, entries); err != nil {
		return 0, err
	}
	if err := os.WriteFile(zip, packed.Bytes(), 0o644); err != nil {
		return 0, err
	}
	if b.unpacked {
		if err := unpack(strings.TrimSuffix(zip, ".zip"), entries); err != nil {
			return 0, err
		}
	}
	bill, err := bom(filepath.Base(zip), b.version, packed.Bytes(), programs)
	if err != nil {
		return 0, err
	}
	return packed.Len(), os.WriteFile(strings.TrimSuffix(zip, ".zip")+".cdx.json", bill, 0o644)
}

// unpack puts entries into a directory, as Lambda puts them into /opt. What was
// there before goes: Lambda would start what an older version left in
// extensions/.
func unpack(dir string, entries []entry) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, e.content, 0o755); err != nil {
			return err
		}
	}
	return nil
}
