package lambdaenv

import (
	"path"
	"slices"
	"strings"
)

// directory is where files go whose name is not absolute.
const directory = "/tmp/vault"

const (
	pathVariable = "VAULT_SECRET_PATH"
	fileVariable = "VAULT_SECRET_FILE"
)

// secrets reads which secrets become files. A run mode without files leaves them
// alone: whoever switches files off does not have to tidy up.
func (r *reader) secrets() {
	var names []string
	for _, variable := range r.order {
		for _, prefix := range []string{pathVariable + "_", fileVariable + "_"} {
			name, ok := strings.CutPrefix(variable, prefix)
			switch {
			case !ok:
			case name != "":
				names = append(names, name)
			case r.s.Files:
				r.refuse(variable, "ends with an underscore and no name", "write "+strings.TrimSuffix(variable, "_")+" for the secret without a name, or add one")
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	switch {
	case !r.s.Files && (len(names) > 0 || r.env[pathVariable] != ""):
		r.s.Warnings = append(r.s.Warnings, "VAULT_RUN_MODE is proxy, so no file is written of what VAULT_SECRET_PATH and its kin ask for")
		return
	case !r.s.Files:
		return
	}
	r.unnamed()
	for _, name := range names {
		r.named(name)
	}
	r.places()
}

func (r *reader) unnamed() {
	file, p := r.env[fileVariable], r.env[pathVariable]
	switch {
	case p != "":
		if file == "" {
			file = directory + "/secret.json"
		}
		r.secret("", p, file, pathVariable, fileVariable)
	case file != "":
		r.refuse(fileVariable, "needs "+pathVariable+", the path of the secret", "without it there is nothing to write")
	}
}

func (r *reader) named(name string) {
	pv, fv := pathVariable+"_"+name, fileVariable+"_"+name
	switch file, p := r.env[fv], r.env[pv]; {
	case p == "":
		r.refuse(fv, "needs "+pv+", the path of the secret", "the two are joined by what follows "+fileVariable+"_")
	case file == "":
		r.refuse(pv, "needs "+fv+", the file to write", "the two are joined by what follows "+pathVariable+"_")
	default:
		r.secret(name, p, file, pv, fv)
	}
}

// secret takes one pair.
func (r *reader) secret(name, p, file, pv, fv string) {
	clean := strings.TrimPrefix(path.Clean("/"+p), "/")
	switch {
	case clean == "":
		r.refuse(pv, "is no path of a secret", "for example secret/data/app")
		return
	case strings.ContainsFunc(p, isControl):
		r.refuse(pv, "holds a control character", "")
		return
	case slices.Contains(strings.Split(p, "/"), ".."):
		r.refuse(pv, "may not hold ..", "")
		return
	case strings.HasSuffix(file, "/"):
		r.refuse(fv, "names a directory", "add the name of the file")
		return
	case strings.ContainsFunc(file, isControl):
		r.refuse(fv, "holds a control character", "")
		return
	}
	if !path.IsAbs(file) {
		file = path.Join(directory, file)
	}
	r.s.Secrets = append(r.s.Secrets, Secret{Name: name, Path: clean, File: path.Clean(file), Variable: pv})
}

func isControl(c rune) bool { return c < ' ' || c == 0x7f }

// places refuses two secrets in one place, and one in a directory that would have to
// be the file of another.
func (r *reader) places() {
	taken := map[string]string{}
	for _, s := range r.s.Secrets {
		if other, twice := taken[s.File]; twice {
			r.refuse(s.fileVariable(), "is the file of "+other+" too: "+s.File, "give each its own")
			continue
		}
		taken[s.File] = s.fileVariable()
	}
	for _, s := range r.s.Secrets {
		for dir := path.Dir(s.File); dir != "/"; dir = path.Dir(dir) {
			if other, ok := taken[dir]; ok {
				r.refuse(s.fileVariable(), "lies below "+dir+", which is the file of "+other, "give each its own")
				break
			}
		}
	}
}

func (s Secret) fileVariable() string {
	return fileVariable + strings.TrimPrefix(s.Variable, pathVariable)
}
