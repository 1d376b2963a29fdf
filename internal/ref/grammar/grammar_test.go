package grammar

import (
	"reflect"
	"strings"
	"testing"
)

func read(path, key, tail string) Part { return Part{Kind: Field, Path: path, Key: key, Tail: tail} }
func write(path, key, tail string) Part {
	return Part{Kind: Field, Write: true, Path: path, Key: key, Tail: tail}
}
func text(s string) Part   { return Part{Text: s} }
func sealed(s string) Part { return Part{Kind: Cipher, Text: s} }

func TestWhatAValueRefersTo(t *testing.T) {
	for value, want := range map[string][]Part{
		// a whole value
		"vault:secret/data/db#password":     {read("secret/data/db", "password", "")},
		"bao:secret/data/db#password":       {read("secret/data/db", "password", "")},
		"vault:/secret/data/db/#password":   {read("secret/data/db", "password", "")},
		"vault:secret/data/db#password#3":   {read("secret/data/db", "password", "3")},
		"vault:secret/data/db#password#":    {read("secret/data/db", "password", "")},
		"vault:secret/data/db#password#-1":  {read("secret/data/db", "password", "")},
		"vault:secret/data/db#password#0":   {read("secret/data/db", "password", "")},
		"vault:secret/data/db#a key, no id": {read("secret/data/db", "a key, no id", "")},
		"vault:a b/ü#k":                     {read("a b/ü", "k", "")},
		"vault:p#${ .a | upper }":           {read("p", "${ .a | upper }", "")},
		"vault:p#${.a}-${.b}#2":             {read("p", "${.a}-${.b}", "2")},
		"vault:a:b/c#k":                     {read("a:b/c", "k", "")},
		">>vault:pki/issue/web#certificate": {write("pki/issue/web", "certificate", "")},
		">>bao:pki/issue/web#certificate":   {write("pki/issue/web", "certificate", "")},
		`>>vault:pki/issue/web#certificate#{"common_name":"a#b"}`: {
			write("pki/issue/web", "certificate", `{"common_name":"a#b"}`)},
		`>>vault:transit/decrypt/k#${.plaintext | b64dec}#{"ciphertext":"vault:v1:x"}`: {
			write("transit/decrypt/k", "${.plaintext | b64dec}", `{"ciphertext":"vault:v1:x"}`)},
		// transit
		"vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zo": {sealed("vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zo")},
		"vault:v12:a#b": {sealed("vault:v12:a#b")},
		"bao:v1:abc":    {sealed("vault:v1:abc")},
		// within text
		"a${vault:p#k}b":   {text("a"), read("p", "k", ""), text("b")},
		"${vault:p#k}":     {read("p", "k", "")},
		"${bao:p#k}":       {read("p", "k", "")},
		"${vault:p#k#2}":   {read("p", "k", "2")},
		"{${vault:p#k}}":   {text("{"), read("p", "k", ""), text("}")},
		"$${vault:p#k}":    {text("$"), read("p", "k", "")},
		"${vault:v1:abc=}": {sealed("vault:v1:abc=")},
		"scheme://${vault:a#user}:${vault:a#pass}@h/${DB}": {
			text("scheme://"), read("a", "user", ""), text(":"), read("a", "pass", ""), text("@h/${DB}")},
		"u=${vault:p#${.x | urlquery}}&y":               {text("u="), read("p", "${.x | urlquery}", ""), text("&y")},
		`${vault:p#${ .x | default "}" }}`:              {read("p", `${ .x | default "}" }`, "")},
		"${>>vault:p#a}__${>>vault:p#b}":                {write("p", "a", ""), text("__"), write("p", "b", "")},
		`${>>vault:p#a#{"x":{"y":"}\"}"}}}/`:            {write("p", "a", `{"x":{"y":"}\"}"}}`), text("/")},
		`${>>vault:t#${.plaintext | b64dec}#{"c":"v"}}`: {write("t", "${.plaintext | b64dec}", `{"c":"v"}`)},
		"${vault:none} ${vault:p#k}":                    {text("${vault:none} "), read("p", "k", "")},
		"\n${vault:p#k}\n":                              {text("\n"), read("p", "k", ""), text("\n")},
		"bytes \xff ${vault:p#k} \xfe":                  {text("bytes \xff "), read("p", "k", ""), text(" \xfe")},
		// nothing
		"":                            nil,
		"plain":                       nil,
		"vault:8200":                  nil,
		"vault:":                      nil,
		"vault:secret/data/db":        nil,
		" vault:p#k":                  nil,
		"VAULT:p#k":                   nil,
		"vault:login":                 nil,
		">vault:p#k":                  nil,
		"> >vault:p#k":                nil,
		"https://vault:8200/ui#login": nil,
		"${vault:-none}":              nil,
		"${>vault:p#k}":               nil,
		"${vault:p#k":                 nil,
		"${vault:p#k#1":               nil,
		"${>>vault:p#k#{":             nil,
		"${":                          nil,
		"vault:v1:":                   nil,
		"vault:vx:abc":                nil,
		"${vault:login}":              nil,
	} {
		got, err := Parse("NAME", value)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v, %v\nwant %+v", value, got, err, want)
		}
	}
}

func TestOnlyATokenIsTheLogins(t *testing.T) {
	for _, name := range []string{"VAULT_TOKEN", "BAO_TOKEN"} {
		for _, value := range []string{"vault:login", "bao:login"} {
			if got, err := Parse(name, value); err != nil || len(got) != 1 || got[0].Kind != Login {
				t.Errorf("%s=%s: %+v, %v", name, value, got, err)
			}
		}
	}
	if got, err := Parse("TOKEN", "vault:login"); got != nil || err != nil {
		t.Errorf("any variable may ask for the login's token: %+v, %v", got, err)
	}
}

func TestReferencesThatCannotBeFollowedAreRefused(t *testing.T) {
	for value, want := range map[string]string{
		"vault:#k":                          "without a path",
		"vault:///#k":                       "without a path",
		"vault:p#":                          "without a key",
		"vault:p##2":                        "without a key",
		"vault:p#k#new":                     "no number",
		"vault:p#k#1#2":                     "no number",
		"vault:p#k#-":                       "no number",
		"vault:p#k#1&x=y":                   "no number",
		"vault:p#k#99999999999999999999999": "no number",
		"vault:../sys/seal#k":               "as one",
		"vault:a/./b#k":                     "as one",
		"vault:a//b#k":                      "empty segment",
		"vault:a\nb#k":                      "control character",
		"vault:a\x00#k":                     "control character",
		"vault:p#${vault:q#k}":              "inside of a reference",
		`>>vault:p#k#{"a":"${vault:q#k}"}`:  "inside of a reference",
		"x${vault:#k}":                      "without a path",
		"x${vault:p#}":                      "without a key",
		"x${vault:p#k#new}":                 "no number",
		`x${>>vault:p#k#{"a":1}`:            "does not follow",
		`x${>>vault:p#k#{"a":1} }`:          "does not follow",
		`x${>>vault:p#k#{"a":1}#x}`:         "does not follow",
		`x${vault:x${vault:p#k}}`:           "inside of a reference",
	} {
		got, err := Parse("NAME", value)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want an error about %q", value, got, err, want)
		}
	}
}

func TestNearMissesAreNoticed(t *testing.T) {
	for value, want := range map[string]bool{
		"vault:secret/data/db": true, ">>bao:pki/issue/web": true, "${vault:x}": true, "a ${>>bao:x": true, "vault:login": true,
		"vault:8200": false, "vault:": false, "": false, "http://vault:8200/": false, "${other}": false,
	} {
		if Near(value) != want {
			t.Errorf("Near(%q) = %v", value, !want)
		}
	}
}

// Whatever a value is: what it was taken apart into, written down again, is taken
// apart into the same, its text stands in it in that order, and no error quotes what
// is sent.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"vault:p#k#1", "a${vault:p#k}b${>>bao:p#${.x}#{\"a\":\"}\"}}c", "vault:v1:x", "${vault:v1:x}",
		"${vault:p#${ .x | f \"}\" }}", "${${vault:a#b}", "vault:a#${vault:b#c}", "${vault:x${vault:p#k}}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		parts, err := Parse("NAME", value)
		if err != nil {
			if _, sent, _ := strings.Cut(value, "#{"); len(sent) > 12 && strings.Contains(err.Error(), sent) {
				t.Fatalf("an error quotes what is sent: %v", err)
			}
			return
		}
		if len(parts) == 0 {
			return
		}
		rest := value
		for i, p := range parts {
			if p.Kind != Text {
				continue
			}
			_, after, found := strings.Cut(rest, p.Text)
			if p.Text == "" || !found || i > 0 && parts[i-1].Kind == Text {
				t.Fatalf("%q: text %q", value, p.Text)
			}
			rest = after
		}
		again := written(parts)
		if got, err := Parse("NAME", again); err != nil || !reflect.DeepEqual(got, parts) {
			t.Fatalf("%q is %+v; written as %q it is %+v, %v", value, parts, again, got, err)
		}
	})
}

func written(parts []Part) string {
	one := func(p Part) string {
		s := "vault:" + p.Path + "#" + p.Key
		if p.Write {
			s = ">>" + s
		}
		if p.Tail != "" {
			s += "#" + p.Tail
		}
		return s
	}
	if len(parts) == 1 && parts[0].Kind == Field {
		return one(parts[0])
	}
	if len(parts) == 1 {
		return parts[0].Text
	}
	var b strings.Builder
	for _, p := range parts {
		switch p.Kind {
		case Text:
			b.WriteString(p.Text)
		case Cipher:
			b.WriteString("${" + p.Text + "}")
		case Field:
			b.WriteString("${" + one(p) + "}")
		}
	}
	return b.String()
}
