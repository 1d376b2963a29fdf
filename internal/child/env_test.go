package child

import (
	"slices"
	"testing"
)

func TestEnv(t *testing.T) {
	base := []string{"HOME=/h", "PATH=/bin", "VAULT_TOKEN=t", "VAULT_ADDR=a", "EMPTY=", "EQ=a=b"}
	for _, tc := range []struct {
		name                string
		pristine            bool
		custom, allow, deny []string
		want                []string
	}{
		{name: "everything by default", want: base},
		{name: "pristine keeps nothing", pristine: true, custom: []string{"A=1"}, allow: []string{"*"}, want: []string{"A=1"}},
		{name: "pristine alone", pristine: true, want: nil},
		{name: "allow keeps what matches", allow: []string{"HOME", "VAULT_*"}, want: []string{"HOME=/h", "VAULT_TOKEN=t", "VAULT_ADDR=a"}},
		{name: "deny removes what matches", deny: []string{"VAULT_*", "E?"}, want: []string{"HOME=/h", "PATH=/bin", "EMPTY="}},
		{name: "deny beats allow", allow: []string{"*"}, deny: []string{"*_TOKEN"}, want: []string{"HOME=/h", "PATH=/bin", "VAULT_ADDR=a", "EMPTY=", "EQ=a=b"}},
		{name: "custom beats deny", allow: []string{"HOME"}, deny: []string{"VAULT_TOKEN"}, custom: []string{"VAULT_TOKEN=mine"}, want: []string{"HOME=/h", "VAULT_TOKEN=mine"}},
		{name: "custom beats base", allow: []string{"HOME", "PATH"}, custom: []string{"PATH=/mine"}, want: []string{"HOME=/h", "PATH=/mine"}},
		{name: "the last custom of a name wins", pristine: true, custom: []string{"A=1", "B=2", "A=3"}, want: []string{"B=2", "A=3"}},
		{name: "values play no part in matching", deny: []string{"*bin*"}, want: base},
		{name: "a malformed pattern is text", deny: []string{"["}, want: base},
	} {
		t.Run(tc.name, func(t *testing.T) {
			was := slices.Clone(base)
			if got := Env(base, tc.pristine, tc.custom, tc.allow, tc.deny); !slices.Equal(got, tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			if !slices.Equal(base, was) {
				t.Errorf("base was changed: %q", base)
			}
		})
	}
}

func TestEnvKeepsMalformedNamesApart(t *testing.T) {
	base := []string{"[=1", "=C:=C:\\", "BARE"}
	if got := Env(base, false, nil, nil, []string{"["}); !slices.Equal(got, base[1:]) {
		t.Errorf("got %q", got)
	}
}
