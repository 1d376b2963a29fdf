package samples

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/config"
	"latchkey/internal/hcl"
)

// The functions for Lambda. Here each is built and looked at with what its language
// brings; e2e runs them, with the clients they use, beside the extension.

// has finds a program, or skips the test.
func has(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not here", name)
	}
	return path
}

// in runs a program in a directory below lambda/, and returns what it says.
func in(t *testing.T, dir string, environ []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(has(t, name), args...)
	cmd.Dir = filepath.Join("lambda", dir)
	cmd.Env = append(withoutServer(), environ...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestTheGoFunctionBuildsForLambda(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "bootstrap")
	in(t, "go", []string{"GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0"}, "go", "build", "-tags", "lambda.norpc", "-o", bin, ".")
	in(t, "go", nil, "go", "vet", "./...")
}

func TestThePythonFunctionCompiles(t *testing.T) {
	in(t, "python", []string{"PYTHONPYCACHEPREFIX=" + t.TempDir()}, "python3", "-W", "error", "-m", "py_compile", "app.py")
}

func TestTheNodeFunctionParses(t *testing.T) {
	in(t, "node", nil, "node", "--check", "index.mjs")
}

// A lock file that names the registry it was made with does not work behind another
// one.
func TestTheLockFilesNameNoRegistry(t *testing.T) {
	for _, name := range []string{"lambda/node/package-lock.json", "../layer/cdk/package-lock.json"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), `"resolved"`) || !strings.Contains(string(text), `"integrity"`) {
			t.Errorf("%s: made without omit-lockfile-registry-resolved", name)
		}
	}
}

// reads is a program that has the Java function's reader of JSON read what it is
// given; it prints what the reader made of it.
const reads = `package example;

public class Reads {
    public static void main(String[] texts) {
        for (String text : texts) {
            try {
                System.out.println(Json.parse(text).get("a").text());
            } catch (IllegalArgumentException e) {
                System.out.println("refused: " + e.getMessage());
            }
        }
    }
}
`

func TestTheJavaFunctionCompilesAndReadsJSON(t *testing.T) {
	has(t, "java")
	dir := t.TempDir()
	main := filepath.Join(dir, "Reads.java")
	if err := os.WriteFile(main, []byte(reads), 0o644); err != nil {
		t.Fatal(err)
	}
	in(t, "java", nil, "javac", "--release", "17", "-Xlint:all", "-Werror", "-d", dir, "src/example/Handler.java", "src/example/Json.java", main)
	cases := [][2]string{
		{`{"a": "plain"}`, "plain"},
		{` { "b" : [1, {"c": []}, "x"] , "a":"q\"\\\/\u00e9\t." } `, "q\"\\/\u00e9\t."},
		{`{"a": "\ud83d\ude00"}`, "\U0001F600"},
		{`{"a": 12345678901234567890}`, "12345678901234567890"},
		{`{"a": null}`, "null"},
		{`{"a": true, "b": -1.5e3}`, "true"},
		{`{"b": 1}`, "refused: the answer has no a"},
		{`{"a": 1} x`, "refused: not JSON at character 10"},
		{`{"a": "half`, "refused: not JSON at character 11"},
		{`{"a": `, "refused: not JSON at character 6"},
		{`{"a": "\u00"}`, "refused: not JSON at character 12"},
		{`{"a": 1.2.3}`, "refused: not JSON at character 11"},
	}
	args := []string{"-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-Dsun.jnu.encoding=UTF-8", "-cp", dir, "example.Reads"}
	var want string
	for _, c := range cases {
		args = append(args, c[0])
		want += c[1] + "\n"
	}
	if got := in(t, "java", []string{"LC_ALL=C.UTF-8"}, "java", args...); got != want {
		t.Errorf("it reads\n%s\nand not\n%s", got, want)
	}
}

func TestTheScriptsAreSound(t *testing.T) {
	for _, name := range []string{"setup/aws-auth.sh", "setup/jwt-auth.sh", "local.sh"} {
		in(t, ".", nil, "sh", "-n", name)
		t.Run(name+" for shellcheck", func(t *testing.T) { in(t, ".", nil, "shellcheck", name) })
	}
}

func TestThePoliciesForIAMAreOnes(t *testing.T) {
	files, err := filepath.Glob("lambda/setup/*.json")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var policy struct {
			Version   string
			Statement []struct {
				Effect string
				Action any
			}
		}
		if err := json.Unmarshal(text, &policy); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if policy.Version != "2012-10-17" || len(policy.Statement) != 1 || policy.Statement[0].Effect != "Allow" || policy.Statement[0].Action == nil {
			t.Errorf("%s: %+v", name, policy)
		}
	}
}

// The guide names every kind of failure that the platform can be told, and its
// configuration is one.
func TestTheGuideKnowsEachKindOfFailure(t *testing.T) {
	guide, err := os.ReadFile("../docs/lambda.md")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("../extension/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal(sources, err)
	}
	kinds := map[string]bool{}
	for _, name := range sources {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "_test.go") {
			for _, kind := range regexp.MustCompile(`"Extension\.[A-Za-z]+"`).FindAllString(string(text), -1) {
				kinds[strings.Trim(kind, `"`)] = true
			}
		}
	}
	if len(kinds) < 5 {
		t.Fatalf("only %v found", kinds)
	}
	for kind := range kinds {
		if !strings.Contains(string(guide), "`"+kind+"`") {
			t.Errorf("docs/lambda.md does not say what %s is", kind)
		}
	}
	_, block, _ := strings.Cut(string(guide), "```hcl\n")
	block, _, _ = strings.Cut(block, "```")
	l, err := config.LoadText("docs/lambda.md", block, config.Options{Lex: hcl.Lex})
	if err != nil || len(l.File.Templates) != 1 || len(l.File.EnvTemplates) != 1 {
		t.Errorf("its configuration is %+v, %v", l, err)
	}
}

// The table of variables has more; each that the guides name is one of them.
func TestTheGuidesNameNoVariableThatIsNone(t *testing.T) {
	reference, err := os.ReadFile("../docs/lambda-environment.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	var prefixes []string
	for _, name := range regexp.MustCompile("`[A-Z_]+[*]?`").FindAllString(string(reference), -1) {
		name = strings.Trim(name, "`")
		known[name] = true
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			prefixes = append(prefixes, prefix)
		}
	}
	for _, guide := range []string{"../docs/lambda.md", "../docs/migrating-from-vault-lambda-extension.md", "../layer/README.md", "lambda/README.md"} {
		text, err := os.ReadFile(guide)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\b(LATCHKEY|VLE|VAULT)_[A-Z_]*[A-Z]\b`).FindAllString(string(text), -1) {
			if !known[name] && !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
				t.Errorf("%s: %s is in no table", guide, name)
			}
		}
	}
}
