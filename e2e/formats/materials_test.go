package formats

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func TestCycloneDXReadsOurBillsOfMaterials(t *testing.T) {
	out := t.TempDir()
	cmd := exec.Command("go", "run", "./layer/mklayer", "-version", "v1.2.3", "-tags", "timberjack_nozstd", "-flavour", "small", "-arch", "amd64", "-out", out)
	cmd.Dir = filepath.Join("..", "..")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	f, err := os.Open(filepath.Join(out, "latchkey-extension-amd64.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(f, cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if bom.SpecVersion != cdx.SpecVersion1_6 || bom.Version != 1 || !strings.HasPrefix(bom.SerialNumber, "urn:uuid:") {
		t.Errorf("version %v of specification %v, serial number %q", bom.Version, bom.SpecVersion, bom.SerialNumber)
	}
	if c := bom.Metadata.Component; c.Name != "latchkey-extension-amd64.zip" || c.Version != "v1.2.3" || len(*c.Hashes) != 1 || (*c.Hashes)[0].Algorithm != cdx.HashAlgoSHA256 {
		t.Errorf("it is about %+v", c)
	}
	found := map[string]cdx.Component{}
	for _, c := range *bom.Components {
		found[c.Name] = c
	}
	for _, name := range []string{"extensions/latchkey-extension", "latchkey-exec", "stdlib", "github.com/aws/aws-sdk-go-v2"} {
		c, ok := found[name]
		if !ok || c.Version == "" && c.Type != cdx.ComponentTypeFile || c.Licenses == nil || (*c.Licenses)[0].License.ID == "" {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if c := found["github.com/aws/aws-sdk-go-v2"]; !strings.HasPrefix(c.PackageURL, "pkg:golang/github.com/aws/aws-sdk-go-v2@v") {
		t.Errorf("%+v", c)
	}
	if bom.Dependencies == nil || len(*bom.Dependencies) != len(found)+1 {
		t.Errorf("%d components, and %+v", len(found), bom.Dependencies)
	}
}
