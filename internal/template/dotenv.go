package template

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

var envName = lazy(`^[A-Za-z_][A-Za-z0-9_]*$`)

// encodeDotenv writes NAME='value' lines, sorted by name. Everything between
// single quotes is literal, newlines too, for a POSIX shell and for every
// reader of .env files alike. Only a value that holds a single quote itself
// stands in double quotes, with a backslash before " \ $ and `.
//
// Values that are no strings are written as their JSON text. A name that is no
// variable name, and a value with a NUL byte, is an error that names the key.
//
// Tested with: bash (`set -a; . FILE`), which gets every value back, and
// github.com/joho/godotenv, which does so except for its own limits: a value
// that ends in a backslash, CRLF (read as LF), and a value with a single quote
// that begins or ends with a double one. Not for `docker run --env-file` and
// others that know no quotes.
func encodeDotenv(data map[string]any) ([]byte, error) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if !envName().MatchString(name) {
			return nil, fmt.Errorf("key %q cannot be the name of a variable", name)
		}
		value, ok := data[name].(string)
		if !ok {
			value = scalar(data[name])
		}
		if strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("key %q holds a NUL byte, which no variable can", name)
		}
		b.WriteString(name + "=" + quoteDotenv(value) + "\n")
	}
	return []byte(b.String()), nil
}

var doubleQuoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`")

func quoteDotenv(value string) string {
	if !strings.Contains(value, "'") {
		return "'" + value + "'"
	}
	return `"` + doubleQuoted.Replace(value) + `"`
}
