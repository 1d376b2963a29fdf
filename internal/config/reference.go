package config

import (
	"fmt"
	"io"
	"strings"
)

const referenceHead = `# Configuration

<!-- Written from the table in internal/config/schema.go by
     go test ./internal/config -run TestReference -update; do not edit. -->

latchkey reads the configuration files of Vault Agent and OpenBao Agent as they are, in HCL and in JSON.

- Files are given with ` + "`-config`" + `, as often as needed; without it ` + "`BAO_AGENT_CONFIG_PATH`" + ` names one. A directory stands for its
  ` + "`*.hcl` and `*.json`" + ` files in sorted order, without those in directories below it.
- Later files win: ` + "`vault`, `cache`, `api_proxy`, `exec`, `telemetry`, `template_config` and the `auto_auth`" + ` of one name as a whole, single
  values one by one. ` + "`template`, `env_template` and `listener`" + ` add up. A boolean that one file turns on stays on.
- For each key a flag beats the environment, and that beats the file. Each variable has two names: ` + "`BAO_*`" + ` wins when
  ` + "`VAULT_*`" + ` is set too. An empty variable counts as not set. ` + "`VAULT_AGENT_ADDR`" + ` is not looked at.
- An unknown key is an error that names its place and the key it resembles; with ` + "`-lenient`" + ` it is a warning. A key set twice is an
  error; ` + "`" + allowDuplicates + "=true`" + ` makes that a warning too.
- A *duration* is a number of seconds or a string with a unit: ` + "`30`, `\"30s\"`, `\"5m\"`, `\"1h\"`, `\"1d\"`" + `. A *file mode* is octal: ` + "`0640` or `\"0640\"`" + `;
  a number in JSON is decimal. A *size* is a number of bytes or a string with a unit: ` + "`\"64KiB\"`, `\"128MiB\"`, `\"1GB\"`" + `. A *bool* may also be ` + "`\"true\"`, `\"false\"`, `1` or `0`" + `.
- Text is taken as it stands: ` + "`${...}` and `%{...}`" + ` mean nothing in strings and heredocs.
- A label and a key ` + "`type`" + ` say the same: ` + "`method \"approle\" { }` and `method { type = \"approle\" }`" + `.
`

// WriteReference writes docs/configuration.md: every stanza and key of the
// table.
func WriteReference(w io.Writer) error {
	var b strings.Builder
	b.WriteString(referenceHead)
	parents := map[*stanza][]string{}
	for _, st := range stanzas() {
		for _, k := range st.keys {
			if k.sub != nil {
				parents[k.sub] = append(parents[k.sub], st.name)
			}
		}
	}
	parents[&waitStanza] = []string{"template"}
	for _, st := range stanzas() {
		writeStanza(&b, st, parents[st])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeStanza(b *strings.Builder, st *stanza, parents []string) {
	switch {
	case st.name == "":
		b.WriteString("\n## Top level\n")
	case len(parents) > 0 && parents[0] != "":
		fmt.Fprintf(b, "\n### `%s` in `%s`\n", st.name, strings.Join(parents, "`, `"))
	default:
		fmt.Fprintf(b, "\n## `%s`\n", st.name)
	}
	fmt.Fprintf(b, "\n%s\n", st.doc)
	b.WriteString("\n| Key | Type | Default | Environment, flag | Meaning |\n|---|---|---|---|---|\n")
	var ignored []string
	reasons := map[string][]string{}
	for i := range st.keys {
		k := &st.keys[i]
		if k.ignored != "" {
			if reasons[k.ignored] == nil {
				ignored = append(ignored, k.ignored)
			}
			reasons[k.ignored] = append(reasons[k.ignored], "`"+k.name+"`")
			continue
		}
		writeRow(b, k)
	}
	for _, why := range ignored {
		what, verb := "the key", "is"
		if len(reasons[why]) > 1 {
			what, verb = "the keys", "are"
		}
		fmt.Fprintf(b, "\nWithout effect %s %s %s: %s. A warning says so.\n", verb, what, strings.Join(reasons[why], ", "), plural(why, len(reasons[why])))
	}
}

// plural turns "it is a key of" into the plural where several keys share a
// reason.
func plural(why string, n int) string {
	if n > 1 {
		return strings.Replace(why, "it is a key of", "they are keys of", 1)
	}
	return why
}

func writeRow(b *strings.Builder, k *key) {
	name := "`" + k.name + "`"
	if k.notInFile {
		name = "*(" + strings.ReplaceAll(k.name, "_", " ") + ")*"
	}
	def := ""
	if k.def != "" {
		def = "`" + k.def + "`"
	}
	doc := k.doc
	if k.sub != nil && doc == "" {
		doc = k.sub.doc
	}
	if k.required {
		doc = "Required. " + doc
	}
	if k.ours {
		doc += " Not in Vault Agent."
	}
	var from []string
	if k.env != "" {
		for _, prefix := range prefixes {
			for _, n := range append([]string{k.env}, k.envOld...) {
				from = append(from, "`"+prefix+n+"`")
			}
		}
	}
	if k.flag != "" {
		from = append(from, "`-"+k.flag+"`")
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", name, k.typ, cell(def), strings.Join(from, " "), cell(doc))
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
