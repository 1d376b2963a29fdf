package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"latchkey/internal/cred"
)

// formats are the ways to write a secret without a template.
var formats = map[string]func(data map[string]any) ([]byte, error){
	"json":   encodeJSON,
	"dotenv": encodeDotenv,
	"yaml":   encodeYAML,
}

// evaluatePlain is evaluateText for a secret that is written as it is.
func (u *run) evaluatePlain(j *job) {
	key := j.t.plain.Key()
	res, ok := u.answers[key]
	if !ok {
		j.want = []Request{j.t.plain}
		return
	}
	j.inputs = inputs{used: map[string]Request{key: j.t.plain}}
	if res.Err != nil {
		j.fail(nil, fmt.Errorf("%s: %w", describe(j.t.plain), res.Err))
		return
	}
	data := payload(res.Secret)
	if data == nil {
		j.fail(ErrMissing, fmt.Errorf("%s: holds no data", describe(j.t.plain)))
		return
	}
	out, err := formats[j.t.spec.Format](data)
	if err != nil {
		j.fail(ErrRender, fmt.Errorf("%s as %s: %w", describe(j.t.plain), j.t.spec.Format, err))
		return
	}
	j.output = out
}

// payload is what the user stored: for KV version 2 the inner data, known by
// the server's metadata beside it.
func payload(s *cred.Secret) map[string]any {
	meta, _ := s.Data["metadata"].(map[string]any)
	_, created := meta["created_time"]
	_, version := meta["version"]
	if created && version {
		data, _ := s.Data["data"].(map[string]any)
		return data
	}
	return s.Data
}

// encodeJSON writes an indented object with sorted keys; numbers keep their
// digits and no character is escaped that JSON lets stand.
func encodeJSON(data map[string]any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(data); err != nil {
		return nil, errors.New("not JSON") // the cause may quote a value
	}
	return b.Bytes(), nil
}

// encodeYAML writes a mapping with sorted keys. Every string is in double
// quotes, so that no reader of YAML 1.1 takes "no" or "1:30" for something
// else; numbers stand as they are.
func encodeYAML(data map[string]any) ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(yamlNode(data)); err != nil {
		return nil, errors.New("not YAML")
	}
	if err := enc.Close(); err != nil {
		return nil, errors.New("not YAML")
	}
	return b.Bytes(), nil
}

func yamlNode(v any) *yaml.Node {
	switch v := v.(type) {
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, yamlKey(k), yamlNode(v[k]))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, e := range v {
			n.Content = append(n.Content, yamlNode(e))
		}
		return n
	case string:
		return yamlString(v)
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: scalar(v)}
}

var (
	yamlName = lazy(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	yamlWord = lazy(`(?i)^(y|n|yes|no|on|off|true|false|null)$`)
)

// yamlKey leaves a key bare that no reader can mistake.
func yamlKey(s string) *yaml.Node {
	if yamlName().MatchString(s) && !yamlWord().MatchString(s) {
		return &yaml.Node{Kind: yaml.ScalarNode, Value: s}
	}
	return yamlString(s)
}

func yamlString(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: s, Style: yaml.DoubleQuotedStyle}
}

// scalar is the JSON text of a value that is no string: digits, true, null, or
// a compact object or list.
func scalar(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	// What came out of JSON goes back into it.
	_ = enc.Encode(v)
	return strings.TrimSuffix(b.String(), "\n")
}
