//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layerOf makes the small layer for arm64 out of the source in root, and returns
// the directory it is in.
func layerOf(t *testing.T, root string, environ ...string) string {
	t.Helper()
	out := t.TempDir()
	cmd := exec.Command("go", "run", "./layer/mklayer", "-version", "v1", "-tags", "timberjack_nozstd", "-flavour", "small", "-arch", "arm64", "-out", out)
	cmd.Dir, cmd.Env = root, append(os.Environ(), environ...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}

// Somebody else builds it in another directory, with nothing that was built before:
// all of it is compiled, for a minute and more, beside other tests.
func TestALayerIsTheSameBitByBitWhenSomebodyElseMakesIt(t *testing.T) {
	t.Parallel()
	elsewhere := filepath.Join(t.TempDir(), "a", "longer", "name")
	for _, name := range []string{"go.mod", "go.sum", "cmd", "extension", "daemonmode", "oneshot", "internal", "layer"} {
		err := filepath.WalkDir(filepath.Join("..", name), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !d.Type().IsRegular() {
				return err
			}
			to := filepath.Join(elsewhere, strings.TrimPrefix(path, ".."))
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(to, text, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	here, there := layerOf(t, ".."), layerOf(t, elsewhere, "GOCACHE="+t.TempDir(), "GOMAXPROCS=1", "LC_ALL=C", "TZ=Asia/Tokyo")
	for _, name := range []string{"latchkey-extension-arm64.zip", "latchkey-extension-arm64.cdx.json"} {
		one, err := os.ReadFile(filepath.Join(here, name))
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(filepath.Join(there, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, two) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestTheCDKAppMakesTheLayerAndItsFunction(t *testing.T) {
	t.Parallel()
	cdk := filepath.Join("..", "layer", "cdk")
	modules := installed(t, "npm", filepath.Join(cdk, "package-lock.json"), func(cache, lock string) [][]string {
		into(t, cache, lock, filepath.Join(cdk, "package.json"))
		return [][]string{{"npm", "ci", "--prefix", cache, "--no-audit", "--no-fund", "--ignore-scripts"}}
	})
	node := need(t, "node")
	// Where the app looks for the layer and the function.
	root := t.TempDir()
	dir := filepath.Join(root, "layer", "cdk")
	for _, d := range []string{dir, filepath.Join(root, "dist"), filepath.Join(root, "samples", "lambda", "node")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	into(t, dir, filepath.Join(cdk, "app.ts"), filepath.Join(cdk, "latchkey.ts"), filepath.Join(cdk, "tsconfig.json"), filepath.Join(cdk, "package.json"))
	into(t, filepath.Join(root, "samples", "lambda", "node"), lambdaSamples("node", "index.mjs"))
	into(t, filepath.Join(root, "dist"), filepath.Join(layerOf(t, ".."), "latchkey-extension-arm64.zip"))
	if err := os.Symlink(filepath.Join(modules, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	runIn(t, dir, filepath.Join(modules, "node_modules", ".bin", "tsc"))
	cmd := exec.Command(node, "out/app.js")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CDK_OUTDIR="+filepath.Join(dir, "cdk.out"), "VAULT_ADDR=https://vault.example.com:8200")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "cdk.out", "LatchkeySample.template.json"))
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Resources map[string]struct {
			Type       string
			Properties struct {
				Architectures, CompatibleArchitectures []string
				Layers                                 []map[string]string
				Environment                            struct{ Variables map[string]string }
			}
		}
	}
	if err := json.Unmarshal(text, &template); err != nil {
		t.Fatal(err)
	}
	var types []string
	for name, r := range template.Resources {
		types = append(types, r.Type)
		p := r.Properties
		switch r.Type {
		case "AWS::Lambda::LayerVersion":
			if fmt.Sprint(p.CompatibleArchitectures) != "[arm64]" {
				t.Errorf("%s is for %v", name, p.CompatibleArchitectures)
			}
		case "AWS::Lambda::Function":
			if len(p.Layers) != 1 || template.Resources[p.Layers[0]["Ref"]].Type != "AWS::Lambda::LayerVersion" || fmt.Sprint(p.Architectures) != "[arm64]" {
				t.Errorf("%s has the layers %v, for %v", name, p.Layers, p.Architectures)
			}
			for _, v := range [][2]string{
				{"VLE_VAULT_ADDR", "https://vault.example.com:8200"}, {"VAULT_ADDR", "http://127.0.0.1:8200"}, {"VAULT_AUTH_PROVIDER", "aws"}, {"VAULT_AUTH_ROLE", "app"},
				{"VAULT_SECRET_PATH_DB", "secret/data/app"}, {"VAULT_SECRET_FILE_DB", "/tmp/vault/db.json"},
				{"AWS_LAMBDA_EXEC_WRAPPER", "/opt/latchkey-exec"}, {"DB_PASSWORD", "vault:secret/data/app#password"},
			} {
				if got := p.Environment.Variables[v[0]]; got != v[1] {
					t.Errorf("%s: %s is %q", name, v[0], got)
				}
			}
		}
	}
	slices.Sort(types)
	if want := []string{"AWS::IAM::Role", "AWS::Lambda::Function", "AWS::Lambda::LayerVersion"}; !slices.Equal(types, want) {
		t.Errorf("it makes %v", types)
	}
}
