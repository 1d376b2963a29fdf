package template

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	ct "github.com/hashicorp/consul-template/template"
)

// ours are the functions that a pass brings along; see pass.funcs.
var ours = []string{
	"secret", "secrets", "pkiCert", "file", "writeToFile",
	"env", "mustEnv", "envOrDefault", "spew_dump", "spew_printf",
}

// builtins are those of text/template. A name that is missing here costs a
// template the way through the library, nothing else.
var builtins = []string{
	"and", "call", "html", "index", "slice", "js", "len", "not", "or",
	"print", "printf", "println", "urlquery",
	"eq", "ge", "gt", "le", "lt", "ne",
}

// helpers are the library's functions that templates use most. The library has
// no list to ask; a name that is missing here is put before its parser.
const helpers = `
	base64Decode base64Encode base64URLDecode base64URLEncode byKey byMeta byPort byTag
	caLeaf caRoots connect contains containsAll containsAny containsNone containsNotAll
	datacenters executeTemplate explode explodeMap exportedServices hmacSHA256Hex in indent
	join key keyExists keyOrDefault loop ls md5sum mergeMap mergeMapWithOverride node nodes
	nomadService nomadServices nomadVar nomadVarExists nomadVarList nomadVarListSafe
	parseBool parseFloat parseInt parseJSON parseUint parseYAML partitions peerings plugin
	regexMatch regexReplaceAll replaceAll safeLs safeTree scratch service services sha256Hex
	sockaddr spew_sdump spew_sprintf split splitToMap timestamp toJSON toJSONPretty toLower
	toTOML toTitle toUnescapedJSON toUnescapedJSONPretty toUpper toYAML tree trim trimPrefix
	trimSpace trimSuffix add subtract multiply divide modulo minimum maximum`

// own reports whether a function does without the library.
func own(name string) bool {
	return slices.Contains(ours, name) || slices.Contains(builtins, name)
}

// functions finds out which names exist: the helpers and those that the
// library's parser accepts.
type functions struct{ exists map[string]bool }

func newFunctions() *functions {
	f := &functions{exists: map[string]bool{}}
	for _, name := range strings.Fields(helpers) {
		f.exists[name] = true
	}
	return f
}

// check decides which way a text is evaluated, and reports the functions that
// do not exist. Each name is put before the parser once.
func (f *functions) check(t *text) error {
	var missing []string
	for name, line := range t.calls {
		if own(name) {
			continue
		}
		t.library = true
		exists, asked := f.exists[name]
		if !asked {
			exists = parses("{{" + name + "}}")
			f.exists[name] = exists
		}
		if !exists {
			missing = append(missing, fmt.Sprintf("%s: function %q not defined", line, name))
		}
	}
	if missing == nil {
		return nil
	}
	slices.Sort(missing)
	return errors.New(strings.Join(missing, "; "))
}

// parses has the library parse a text; nothing in it is executed.
func parses(body string) bool {
	t, err := ct.NewTemplate(&ct.NewTemplateInput{Contents: "{{if false}}" + body + "{{end}}"})
	if err != nil {
		return false
	}
	_, err = t.Execute(&ct.ExecuteInput{Brain: ct.NewBrain()})
	return err == nil
}
