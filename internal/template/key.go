package template

import (
	"fmt"
	"maps"
	"strings"
	texttemplate "text/template"

	"github.com/Masterminds/sprig/v3"
)

// Key evaluates the key of a reference that is a template, such as
// ${ .user }:${ .password | urlquery }, over the fields of an answer. It has sprig's
// functions, but for those that look at the machine. The error is ErrParse or
// ErrRender, and carries no value.
func Key(text string, data map[string]any) (string, error) {
	functions := maps.Clone(sprig.TxtFuncMap())
	for _, name := range []string{"env", "expandenv", "getHostByName"} {
		delete(functions, name)
	}
	t, err := texttemplate.New("key").Delims("${", "}").Funcs(functions).Option("missingkey=error").Parse(text)
	if err != nil {
		return "", fmt.Errorf("%w: the key is no template with the delimiters ${ and }", ErrParse)
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		// The engine's own words may quote a value.
		return "", fmt.Errorf("%w: the key cannot be evaluated over the fields of the secret", ErrRender)
	}
	return b.String(), nil
}
