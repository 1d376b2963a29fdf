package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The recipes beside the zips: whether each is what the tool it is for reads, as
// far as that tool is here, and whether all of them say the same.

// tool finds a program, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not here", name)
	}
	return path
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(tool(t, name), args...)
	cmd.Dir = ".."
	// Without this, Terraform tells the machine's owner about a file that is not there.
	cmd.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+os.DevNull, "CHECKPOINT_DISABLE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func recipe(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestThePublishScriptIsSound(t *testing.T) {
	command(t, "sh", "-n", "publish.sh")
	command(t, "shellcheck", "publish.sh")
}

func TestTheTerraformModuleIsFormattedAndParsed(t *testing.T) {
	// It fails for what it cannot parse, too.
	command(t, "terraform", "fmt", "-check", "-diff", "-recursive", "terraform")
}

// wanted is what every recipe says about the function.
var wanted = map[string]string{
	"VAULT_ADDR":              "http://127.0.0.1:8200",
	"VAULT_SECRET_PATH_DB":    "secret/data/app",
	"VAULT_SECRET_FILE_DB":    "/tmp/vault/db.json",
	"AWS_LAMBDA_EXEC_WRAPPER": "/opt/latchkey-exec",
	"DB_USERNAME":             "vault:secret/data/app#username",
	"DB_PASSWORD":             "vault:secret/data/app#password",
	"VAULT_AUTH_PROVIDER":     "aws",
}

func check(t *testing.T, env map[string]any) {
	t.Helper()
	for name, want := range wanted {
		if env[name] != want {
			t.Errorf("%s is %v, not %s", name, env[name], want)
		}
	}
	if env["VLE_VAULT_ADDR"] == nil {
		t.Error("VLE_VAULT_ADDR is not set: the extension would ask itself")
	}
}

// tagged reads YAML in which a tag, such as !Ref, stands for a function.
func tagged(t *testing.T, name string) map[string]any {
	t.Helper()
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(recipe(t, name)), &node); err != nil {
		t.Fatal(err)
	}
	var untag func(*yaml.Node)
	untag = func(n *yaml.Node) {
		if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
			n.Value, n.Tag = n.Tag+" "+n.Value, "!!str"
		}
		for _, c := range n.Content {
			untag(c)
		}
	}
	untag(&node)
	var m map[string]any
	if err := node.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

// at follows names into a tree, and fails where it has no such branch.
func at(t *testing.T, tree map[string]any, names ...string) map[string]any {
	t.Helper()
	for i, n := range names {
		next, ok := tree[n].(map[string]any)
		if !ok {
			t.Fatalf("%s is %v", strings.Join(names[:i+1], "."), tree[n])
		}
		tree = next
	}
	return tree
}

func TestTheSAMTemplateIsSound(t *testing.T) {
	tree := tagged(t, "sam/template.yaml")
	layer := at(t, tree, "Resources", "Latchkey")
	if layer["Type"] != "AWS::Serverless::LayerVersion" {
		t.Errorf("the layer is a %v", layer["Type"])
	}
	isMade(t, "sam", at(t, layer, "Properties")["ContentUri"])
	function := at(t, tree, "Resources", "Function", "Properties")
	if fmt.Sprint(function["Layers"]) != "[!Ref Latchkey]" {
		t.Errorf("the function's layers are %v", function["Layers"])
	}
	if fmt.Sprint(function["Architectures"]) != "[arm64]" || fmt.Sprint(at(t, layer, "Properties")["CompatibleArchitectures"]) != "[arm64]" {
		t.Error("the function and its layer are not for one architecture")
	}
	check(t, at(t, function, "Environment", "Variables"))
	t.Run("for cfn-lint", func(t *testing.T) { command(t, "cfn-lint", "sam/template.yaml") })
}

func TestTheServerlessSnippetIsSound(t *testing.T) {
	tree := tagged(t, "serverless/serverless.yml")
	isMade(t, "serverless", at(t, tree, "layers", "latchkey", "package")["artifact"])
	function := at(t, tree, "functions", "sample")
	// The framework names the resource of a layer so.
	if fmt.Sprint(function["layers"]) != "[!Ref LatchkeyLambdaLayer]" {
		t.Errorf("the function's layers are %v", function["layers"])
	}
	check(t, at(t, function, "environment"))
}

func TestTheTerraformExampleSaysTheSame(t *testing.T) {
	text := recipe(t, "terraform/example/main.tf")
	env := map[string]any{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, "="); ok && strings.ToUpper(name) == name {
			env[strings.TrimSpace(name)] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	check(t, env)
	_, path, _ := strings.Cut(text, `"${path.module}/`)
	path, _, _ = strings.Cut(path, `"`)
	isMade(t, "terraform/example", path)
}

// isMade says whether a path, seen from a recipe's directory, is that of a zip that
// make layer writes.
func isMade(t *testing.T, dir string, path any) {
	t.Helper()
	got := filepath.Join("layer", dir, fmt.Sprint(path))
	var all []string
	for _, l := range layers {
		for _, arch := range []string{"amd64", "arm64"} {
			all = append(all, filepath.Join("dist", l.name+"-"+arch+".zip"))
		}
	}
	if !slices.Contains(all, got) {
		t.Errorf("%s is no zip that is made", got)
	}
}

// What a Dockerfile copies is there: the samples in the source, the rest where make
// layer puts it.
func TestTheDockerfilesCopyWhatIsThere(t *testing.T) {
	for _, name := range []string{"container/Dockerfile", "container/go.Dockerfile"} {
		copies := 0
		for line := range strings.Lines(recipe(t, name)) {
			words := strings.Fields(line)
			if len(words) < 3 || words[0] != "COPY" || strings.HasPrefix(words[1], "--from") {
				continue
			}
			copies++
			if strings.HasPrefix(words[1], "--") {
				words = words[1:]
			}
			from := strings.ReplaceAll(words[1], "${TARGETARCH}", "arm64")
			if from == "dist/"+layers["small"].name+"-arm64/" {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, from)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if copies < 2 {
			t.Errorf("%s copies %d things", name, copies)
		}
	}
}

// fakeAWS writes down how it is called and answers as the AWS command line does.
const fakeAWS = `#!/bin/sh
echo "$*" >>"$CALLS/all"
option() { echo "$calls" | sed -n "s/.*--$1 \([^ ]*\).*/\1/p"; }
calls=$*
layer=$(option layer-name)
newest=$CALLS/$(option region)-$layer
case "$*" in
*list-layer-versions*) if [ -s "$newest" ]; then cat "$newest"; else echo None; fi ;;
*publish-layer-version*)
	description=$(echo "$*" | sed 's/.*--description \(.*\) --license-info.*/\1/')
	printf 'arn:aws:lambda:here:1:layer:%s:7\t%s\n' "$layer" "$description" >"$newest"
	echo "arn:aws:lambda:here:1:layer:$layer:7" ;;
esac
`

type publishing struct {
	t               *testing.T
	bin, dist, said string
}

func newPublishing(t *testing.T) *publishing {
	tool(t, "sh")
	p := &publishing{t: t, bin: t.TempDir(), dist: t.TempDir(), said: t.TempDir()}
	if err := os.WriteFile(filepath.Join(p.bin, "aws"), []byte(fakeAWS), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		if err := os.WriteFile(filepath.Join(p.dist, "latchkey-extension-"+arch+".zip"), []byte("a zip"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// run publishes, and returns what it said on stdout, what was called, and its exit
// code.
func (p *publishing) run(args ...string) (out string, calls []string, code int) {
	p.t.Helper()
	_ = os.Remove(filepath.Join(p.said, "all"))
	script, err := filepath.Abs("../publish.sh")
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command("sh", append([]string{script, "-d", p.dist}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+p.bin+string(os.PathListSeparator)+os.Getenv("PATH"), "CALLS="+p.said)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		p.t.Fatal(err)
	}
	p.t.Logf("%s", &stderr)
	text, _ := os.ReadFile(filepath.Join(p.said, "all"))
	return stdout.String(), strings.Split(strings.TrimSpace(string(text)), "\n"), code
}

func TestPublishingSendsTheZipOfEachArchitectureToEachRegion(t *testing.T) {
	p := newPublishing(t)
	out, calls, code := p.run("-r", "eu-central-1", "-r", "us-east-1")
	if want := strings.Repeat("arn:aws:lambda:here:1:layer:latchkey-extension:7\n", 2) + strings.Repeat("arn:aws:lambda:here:1:layer:latchkey-extension-arm64:7\n", 2); out != want || code != 0 {
		t.Errorf("exit code %d, it prints\n%s", code, out)
	}
	all := strings.Join(calls, "\n")
	for _, want := range []string{
		"lambda publish-layer-version --region eu-central-1 --layer-name latchkey-extension --zip-file fileb://" + p.dist + "/latchkey-extension-amd64.zip --compatible-architectures x86_64",
		"lambda list-layer-versions --region us-east-1 --layer-name latchkey-extension ",
		"--layer-name latchkey-extension-arm64 --zip-file fileb://" + p.dist + "/latchkey-extension-arm64.zip --compatible-architectures arm64",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no call has %q:\n%s", want, all)
		}
	}
	if strings.Contains(all, "permission") {
		t.Error("somebody else may use it, though nobody said so")
	}
}

func TestPublishingTheSameZipAgainMakesNoNewVersion(t *testing.T) {
	p := newPublishing(t)
	first, _, _ := p.run("-a", "arm64", "-r", "eu-central-1")
	again, calls, code := p.run("-a", "arm64", "-r", "eu-central-1")
	if first != again || code != 0 || len(calls) != 1 {
		t.Errorf("exit code %d, %q and then %q, calls %q", code, first, again, calls)
	}
	if err := os.WriteFile(filepath.Join(p.dist, "latchkey-extension-arm64.zip"), []byte("another zip"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, calls, _ := p.run("-a", "arm64", "-r", "eu-central-1"); len(calls) != 2 {
		t.Errorf("another zip: %q", calls)
	}
}

func TestPublishingLetsOnlyThoseUseItWhoAreNamed(t *testing.T) {
	p := newPublishing(t)
	_, calls, code := p.run("-a", "amd64", "-s", "all", "-o", "o-abc")
	want := "lambda add-layer-version-permission --organization-id o-abc --layer-name latchkey-extension --version-number 7 --statement-id use --action lambda:GetLayerVersion --principal *"
	if code != 0 || !slices.Contains(calls, want) {
		t.Errorf("exit code %d, calls %q", code, calls)
	}
}

func TestPublishingSaysWhatIsWrong(t *testing.T) {
	p := newPublishing(t)
	for _, args := range [][]string{{"-f", "medium"}, {"-a", "mips"}, {"-o", "o-abc"}, {"more"}, {"-x"}} {
		if out, calls, code := p.run(args...); code != 2 || out != "" || calls[0] != "" {
			t.Errorf("%v: exit code %d, %q, calls %q", args, code, out, calls)
		}
	}
	if _, calls, code := p.run("-f", "full"); code != 1 || calls[0] != "" {
		t.Errorf("without a zip: exit code %d, calls %q", code, calls)
	}
}
