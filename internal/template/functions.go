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
var helpers = strings.Fields(`
	base64Decode base64Encode base64URLDecode base64URLEncode byKey byMeta byPort byTag
	caLeaf caRoots connect contains containsAll containsAny containsNone containsNotAll
	datacenters executeTemplate explode explodeMap exportedServices hmacSHA256Hex in indent
	join key keyExists keyOrDefault loop ls md5sum mergeMap mergeMapWithOverride node nodes
	nomadService nomadServices nomadVar nomadVarExists nomadVarList nomadVarListSafe
	parseBool parseFloat parseInt parseJSON parseUint parseYAML partitions peerings plugin
	regexMatch regexReplaceAll replaceAll safeLs safeTree scratch service services sha256Hex
	sockaddr spew_sdump spew_sprintf split splitToMap timestamp toJSON toJSONPretty toLower
	toTOML toTitle toUnescapedJSON toUnescapedJSONPretty toUpper toYAML tree trim trimPrefix
	trimSpace trimSuffix add subtract multiply divide modulo minimum maximum`)

var own, known = names(ours, builtins), names(helpers)

func names(lists ...[]string) map[string]bool {
	set := map[string]bool{}
	for _, name := range slices.Concat(lists...) {
		set[name] = true
	}
	return set
}

// functions finds out which names exist.
type functions struct{ other map[string]bool } // name -> exists

func newFunctions() *functions { return &functions{other: map[string]bool{}} }

// collect takes up the names of a text and decides which way it is evaluated.
func (f *functions) collect(t *text) {
	for name := range t.calls {
		if own[name] {
			continue
		}
		t.library = true
		if !known[name] {
			f.other[name] = false
		}
	}
}

// probe asks the library for all names at once and, when it refuses, for each.
func (f *functions) probe() {
	all := ""
	for name := range f.other {
		all += "{{" + name + "}}"
	}
	if all == "" {
		return
	}
	whole := parses(all)
	for name := range f.other {
		f.other[name] = whole || parses("{{"+name+"}}")
	}
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

// check reports the functions of a text that do not exist.
func (f *functions) check(t *text) error {
	var missing []string
	for name, line := range t.calls {
		if !own[name] && !known[name] && !f.other[name] {
			missing = append(missing, fmt.Sprintf("%s: function %q not defined", line, name))
		}
	}
	if missing == nil {
		return nil
	}
	slices.Sort(missing)
	return errors.New(strings.Join(missing, "; "))
}
