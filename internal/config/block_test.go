package config

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"time"
)

type everything struct {
	S     string            `config:"s"`
	B     bool              `config:"b"`
	I     int               `config:"i"`
	F     float64           `config:"f"`
	D     time.Duration     `config:"d"`
	M     fs.FileMode       `config:"m"`
	L     []string          `config:"l"`
	Map   map[string]string `config:"map"`
	PS    *string           `config:"ps"`
	PB    *bool             `config:"pb"`
	PI    *int              `config:"pi"`
	PD    *time.Duration    `config:"pd"`
	PM    *fs.FileMode      `config:"pm"`
	Other string
}

// block is the config block of a method with this text in it.
func block(t *testing.T, text string) Block {
	t.Helper()
	return load(t, "a.hcl", "auto_auth {\n method \"x\" {\n  config {\n"+text+"\n} } }").File.AutoAuth.Method.Config
}

func TestDecode_fills_every_kind_of_field(t *testing.T) {
	got := everything{Other: "kept"}
	err := block(t, `
s = "s"  b = "true"  i = "5"  f = 1.5  d = "90s"  m = 0640
l = ["a", "b",]  map { A = "1" B = 2 C = true }
ps = ""  pb = false  pi = 0  pd = 5  pm = "0600"`).Decode(&got)
	if err != nil {
		t.Fatal(err)
	}
	empty, no, zero, five, mode := "", false, 0, 5*time.Second, fs.FileMode(0o600)
	want := everything{S: "s", B: true, I: 5, F: 1.5, D: 90 * time.Second, M: 0o640, L: []string{"a", "b"},
		Map: map[string]string{"A": "1", "B": "2", "C": "true"}, PS: &empty, PB: &no, PI: &zero, PD: &five, PM: &mode, Other: "kept"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestDecode_keeps_what_is_not_set(t *testing.T) {
	got := everything{S: "def", B: true, D: time.Minute, L: []string{"x"}}
	want := got
	if err := block(t, "").Decode(&got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	if err := (Block{}).Decode(&got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
}

func TestDecode_problems(t *testing.T) {
	type approle struct {
		Role   string        `config:"role_id_file_path,required"`
		Secret string        `config:"secret_id_file_path"`
		Remove bool          `config:"remove_secret_id_file_after_reading"`
		Mode   fs.FileMode   `config:"mode"`
		Period time.Duration `config:"period"`
	}
	tests := []struct {
		name, text, want, hint string
	}{
		{"misspelt", "role_id_file_path = \"x\"\nrole_id_filepath = \"y\"", "5:1: auto_auth.method.config.role_id_filepath: unknown key", `did you mean "role_id_file_path"?`},
		{"unknown", "role_id_file_path = \"x\"\ncolour = \"y\"", "5:1: auto_auth.method.config.colour: unknown key", "known are role_id_file_path, secret_id_file_path"},
		{"two letters swapped", "role_id_file_path = \"x\"\nmoed = \"y\"", "5:1: auto_auth.method.config.moed: unknown key", `did you mean "mode"?`},
		{"other case", "role_id_file_path = \"x\"\nMODE = \"y\"", "5:1: auto_auth.method.config.MODE: unknown key", `did you mean "mode"?`},
		{"missing", "secret_id_file_path = \"x\"", "3:3: auto_auth.method.config.role_id_file_path: is required", ""},
		{"empty", "\nrole_id_file_path = \"\"", "5:1: auto_auth.method.config.role_id_file_path: is required", ""},
		{"blank", "role_id_file_path = \"  \"", "4:1: auto_auth.method.config.role_id_file_path: is required", ""},
		{"wrong kind", "role_id_file_path = [\"x\"]", "4:1: auto_auth.method.config.role_id_file_path: must be a string, not a list", ""},
		{"no bool", "role_id_file_path = \"x\" remove_secret_id_file_after_reading = \"no\"", "4:25: auto_auth.method.config.remove_secret_id_file_after_reading: must be true or false", ""},
		{"no mode", "role_id_file_path = \"x\" mode = 640", "4:25: auto_auth.method.config.mode: is no file mode: decimal 640 is octal 01200", `"0640"`},
		{"no duration", "role_id_file_path = \"x\" period = \"1 hour\"", "4:25: auto_auth.method.config.period: must be a duration", `"5m"`},
		{"a labelled block", "role_id_file_path \"x\" { }", "4:1: auto_auth.method.config.role_id_file_path: takes no label", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := block(t, tt.text).Decode(&approle{})
			var ps Problems
			if !errors.As(err, &ps) || len(ps) != 1 {
				t.Fatalf("%v", err)
			}
			p := ps[0]
			if got := fmt.Sprintf("%d:%d: %s: %s", p.Pos.Line, p.Pos.Column, p.Key, p.Text); got != tt.want || !strings.Contains(p.Hint, tt.hint) {
				t.Errorf("got  %s (%s)\nwant %s", got, p.Hint, tt.want)
			}
			if p.Source == "" {
				t.Error("no source line")
			}
			var one *Problem
			if !errors.As(err, &one) || one != p {
				t.Error("errors.As finds no *Problem")
			}
		})
	}
}

func TestDecode_without_a_config_block_shows_the_method(t *testing.T) {
	b := load(t, "a.hcl", "auto_auth {\n method \"x\" { } }").File.AutoAuth.Method.Config
	var v struct {
		A string `config:"a,required"`
	}
	var p *Problem
	if err := b.Decode(&v); !errors.As(err, &p) || p.Pos.Line != 2 || p.Key != "auto_auth.method.config.a" {
		t.Errorf("%v", err)
	}
}

func TestBlock_owners_make_problems_at_the_key(t *testing.T) {
	b := block(t, "role = \"x\"\n  token = \"hunter2\"")
	p := b.Problem("token", "is odd", "try another")
	if p.Pos.Line != 5 || p.Pos.Column != 3 || p.Key != "auto_auth.method.config.token" || p.Hint != "try another" || p.Source != `  token = "*******"` {
		t.Errorf("%+v", p)
	}
	if p := b.Problem("none", "t", ""); p.Pos.Line != 3 || p.Key != "auto_auth.method.config.none" {
		t.Errorf("%+v", p)
	}
	if p := b.Problem("", "t", ""); p.Pos.Line != 3 || p.Key != "auto_auth.method.config" {
		t.Errorf("%+v", p)
	}
	if b.KeyPos("role").Line != 4 || !b.Has("role") || b.Has("none") || strings.Join(b.Keys(), " ") != "role token" {
		t.Errorf("%v %q", b.KeyPos("role"), b.Keys())
	}
	if s := fmt.Sprintf("%v %+v %#v", b, b, b); strings.Contains(s, "hunter2") {
		t.Error(s)
	}
}

func TestNewBlock_decodes_like_one_from_a_file(t *testing.T) {
	var got everything
	err := NewBlock("approle", map[string]any{
		"s": "x", "b": true, "i": 5, "f": 0.5, "d": "5m", "m": "0600", "pd": time.Hour, "pm": fs.FileMode(0o640),
		"l": []string{"a"}, "map": map[string]string{"k": "v"},
	}).Decode(&got)
	if err != nil || got.S != "x" || !got.B || got.I != 5 || got.F != 0.5 || got.D != 5*time.Minute || got.M != 0o600 || got.L[0] != "a" || got.Map["k"] != "v" || *got.PD != time.Hour || *got.PM != 0o640 {
		t.Errorf("%+v %v", got, err)
	}
	var p *Problem
	if err := NewBlock("approle", map[string]any{"x": 1}).Decode(&got); !errors.As(err, &p) || p.Key != "approle.x" {
		t.Errorf("%v", err)
	}
}
