package environ

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestWhatAProgramGetsOfItsParentsEnvironment(t *testing.T) {
	parent := []string{"PATH=/bin", "HOME=/h", "HTTP_PROXY=p", "HTTPS_PROXY=q", "EMPTY="}
	for _, tc := range []struct {
		name     string
		rules    Rules
		rendered []string
		want     []string
	}{
		{"all of it", Rules{}, nil, []string{"EMPTY=", "HOME=/h", "HTTPS_PROXY=q", "HTTP_PROXY=p", "PATH=/bin"}},
		{"nothing when pristine", Rules{Pristine: true}, nil, nil},
		{"pristine, and what is custom", Rules{Pristine: true, Custom: []string{"A=1"}}, nil, []string{"A=1"}},
		{"what is allowed", Rules{Allowlist: []string{"PATH", "HTTP*"}}, nil, []string{"HTTPS_PROXY=q", "HTTP_PROXY=p", "PATH=/bin"}},
		{"not what is denied", Rules{Denylist: []string{"HTTP*", "EMPTY"}}, nil, []string{"HOME=/h", "PATH=/bin"}},
		{"denied beats allowed", Rules{Allowlist: []string{"*"}, Denylist: []string{"H*"}}, nil, []string{"EMPTY=", "PATH=/bin"}},
		{"custom is neither allowed nor denied", Rules{Allowlist: []string{"PATH"}, Denylist: []string{"A"}, Custom: []string{"A=1"}}, nil, []string{"A=1", "PATH=/bin"}},
		{"custom beats the parent's", Rules{Allowlist: []string{"HOME"}, Custom: []string{"HOME=/c"}}, nil, []string{"HOME=/c"}},
		{"rendered beats both", Rules{Allowlist: []string{"HOME"}, Custom: []string{"HOME=/c"}}, []string{"HOME=/r"}, []string{"HOME=/r"}},
		{"the later rendered one counts", Rules{Pristine: true}, []string{"A=1", "A=2"}, []string{"A=2"}},
		{"rendered is not denied", Rules{Pristine: true, Denylist: []string{"A"}}, []string{"A=1"}, []string{"A=1"}},
		{"a value may hold an equals sign", Rules{Pristine: true}, []string{"A=b=c"}, []string{"A=b=c"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Build(parent, tc.rules, tc.rendered); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestNormalDoesNotDependOnOrder(t *testing.T) {
	a, b := []string{"B=2", "A=1", "B=3"}, []string{"B=3", "A=1"}
	if !slices.Equal(Normal(a), Normal(b)) {
		t.Errorf("%q is not %q", Normal(a), Normal(b))
	}
	if !slices.Equal(a, []string{"B=2", "A=1", "B=3"}) {
		t.Errorf("its argument became %q", a)
	}
}

func TestOurOwnCredentialsDoNotReachAProgram(t *testing.T) {
	env := []string{
		"VAULT_TOKEN=hvs.canary", "BAO_TOKEN=s.canary", "VAULT_HEADERS={canary}", "BAO_HEADERS={canary}", "VAULT_MFA=canary", "BAO_MFA=canary",
		"VAULT_PROXY_ADDR=http://user:canary@proxy", "BAO_HTTP_PROXY=http://user:canary@proxy", "MY_KEY=canary",
	}
	keep := []string{
		"VAULT_ADDR=https://vault", "VAULT_NAMESPACE=team", "VAULT_CACERT=/ca.pem", "VAULT_HTTP_PROXY=http://proxy:3128",
		"HTTP_PROXY=http://user:pw@proxy", "VAULT_TOKENS=2", "TOKEN=theirs",
	}
	if got := WithoutCredentials(slices.Concat(env, keep, env), "MY_KEY"); !slices.Equal(got, keep) {
		t.Errorf("left: %q", got)
	}
	for _, name := range Credentials() {
		if got := WithoutCredentials([]string{name + "=canary", name}); len(got) > 0 {
			t.Errorf("left: %q", got)
		}
	}
}

func TestNamesOfWindows(t *testing.T) {
	if got := Name("=C:=C:\\dir"); got != "=C:" {
		t.Errorf("got %q", got)
	}
	got := Normal([]string{"Path=a", "PATH=b"})
	if want := map[bool]int{true: 1, false: 2}[runtime.GOOS == "windows"]; len(got) != want {
		t.Errorf("got %q", got)
	}
}

func FuzzBuild(f *testing.F) {
	f.Add("A=1\nB=2\nA=3", "B=4", "A*")
	f.Add("=C:=x\n\n=", "", "[")
	f.Fuzz(func(t *testing.T, parent, rendered, deny string) {
		p, r := strings.Split(parent, "\n"), strings.Split(rendered, "\n")
		got := Build(p, Rules{Denylist: []string{deny}}, r)
		seen := map[string]string{}
		for _, entry := range got {
			if _, twice := seen[Name(entry)]; twice {
				t.Errorf("%q is there twice", Name(entry))
			}
			seen[Name(entry)] = entry
		}
		theirs := map[string]bool{}
		for _, entry := range r {
			theirs[Name(entry)] = true
		}
		for name := range theirs {
			if _, ok := seen[name]; !ok {
				t.Errorf("%q was rendered and is not there", name)
			}
		}
		for name := range seen {
			if denied, _ := filepath.Match(deny, name); denied && !theirs[name] {
				t.Errorf("%q is denied and there", name)
			}
		}
		if again := Normal(got); !slices.Equal(again, got) {
			t.Errorf("%q became %q", got, again)
		}
	})
}
