package aws

import "strings"

// sections is one of the AWS command line's files: name of a section to its keys.
type sections map[string]map[string]string

// parseINI reads such a file as the SDKs do: keys in any case, comments from # or ;
// at the beginning of a line or after white space, indented lines belong to the
// value above and say nothing that is needed here, of a key that is there twice the
// later one counts. What is no section and no key is passed over.
func parseINI(text string) sections {
	out := sections{}
	var in map[string]string
	for line := range strings.Lines(text) {
		indented := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		line = strings.TrimSpace(line)
		switch {
		case line == "", strings.ContainsAny(line[:1], "#;"):
		case line[0] == '[' && !indented:
			name, _, ok := strings.Cut(line[1:], "]")
			in = nil
			if name = strings.Join(strings.Fields(name), " "); !ok || name == "" {
				continue
			}
			if in = out[name]; in == nil {
				in = map[string]string{}
				out[name] = in
			}
		case in != nil && !indented:
			if k, v, ok := strings.Cut(line, "="); ok {
				in[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(uncommented(v))
			}
		}
	}
	return out
}

// uncommented is v up to a comment.
func uncommented(v string) string {
	for i := 1; i < len(v); i++ {
		if (v[i] == '#' || v[i] == ';') && (v[i-1] == ' ' || v[i-1] == '\t') {
			return v[:i]
		}
	}
	return v
}
