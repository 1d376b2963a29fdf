package template

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"latchkey/internal/atomicfile"
	"latchkey/internal/owner"
)

// sideFile is what one call of writeToFile wants written.
type sideFile struct {
	path    string
	content string
	append  bool
	opts    atomicfile.Options
}

// writeToFile path owner group perms [flags] content takes note of a file; it
// is written when the template is complete. Flags are "append" and "newline".
func (p *pass) writeToFile(path, user, group, perms string, args ...string) (string, error) {
	if len(args) == 0 {
		return "", errors.New("no content")
	}
	flags := ""
	if len(args) == 2 {
		flags = args[0]
	}
	mode, err := strconv.ParseUint(perms, 8, 32)
	if err != nil {
		return "", fmt.Errorf("permissions %q are not octal", perms)
	}
	uid, err := owner.User(user)
	if err != nil {
		return "", fmt.Errorf("user %q: %w", user, err)
	}
	gid, err := owner.Group(group)
	if err != nil {
		return "", fmt.Errorf("group %q: %w", group, err)
	}
	f := sideFile{
		path:    path,
		content: args[len(args)-1],
		append:  strings.Contains(flags, "append"),
		opts: atomicfile.Options{
			Mode: fs.FileMode(mode), UID: uid, GID: gid, MakeDirs: true, Compare: true,
		},
	}
	if strings.Contains(flags, "newline") {
		f.content += "\n"
	}
	p.side = append(p.side, f)
	return "", nil
}

// fold makes one write of each path, in the order of the first call: an append
// adds to what an earlier call said or else to what is there.
func fold(calls []sideFile) ([]sideFile, error) {
	var out []sideFile
	at := map[string]int{}
	for _, c := range calls {
		key := filepath.Clean(c.path)
		i, seen := at[key]
		if !seen {
			i = len(out)
			at[key] = i
			out = append(out, sideFile{path: c.path})
			if c.append {
				old, err := os.ReadFile(c.path)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					return nil, err
				}
				out[i].content = string(old)
			}
		} else if !c.append {
			out[i].content = ""
		}
		out[i].content += c.content
		out[i].opts = c.opts
	}
	return out, nil
}
