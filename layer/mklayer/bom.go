package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
)

// The shapes of CycloneDX 1.6, as far as they are used here.
type (
	document struct {
		Schema       string       `json:"$schema"`
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Serial       string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Lifecycles []lifecycle `json:"lifecycles"`
		Component  component   `json:"component"`
	}
	lifecycle struct {
		Phase string `json:"phase"`
	}
	component struct {
		Type       string          `json:"type"`
		Ref        string          `json:"bom-ref"`
		Name       string          `json:"name"`
		Version    string          `json:"version,omitempty"`
		Hashes     []hash          `json:"hashes,omitempty"`
		Licenses   []licenseChoice `json:"licenses,omitempty"`
		PURL       string          `json:"purl,omitempty"`
		Properties []property      `json:"properties,omitempty"`
	}
	hash struct {
		Alg     string `json:"alg"`
		Content string `json:"content"`
	}
	licenseChoice struct {
		License licenseID `json:"license"`
	}
	licenseID struct {
		ID string `json:"id"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
)

// bom writes the bill of materials of a zip: its programs, and the modules that
// the linker put into each, as the programs themselves tell. It has no date, and
// its serial number is made of the zip, so that the same zip has the same bill.
func bom(name, version string, zip []byte, programs []program) ([]byte, error) {
	sum := sha256.Sum256(zip)
	d := document{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", Spec: "1.6",
		Serial: "urn:uuid:" + uuid(sum), Version: 1,
		Metadata: metadata{
			Lifecycles: []lifecycle{{"build"}},
			Component: component{
				Type: "application", Ref: name, Name: name, Version: version,
				Hashes: sha(sum), Licenses: spdx("Apache-2.0"),
			},
		},
	}
	libraries := map[string]component{}
	top := dependency{Ref: name}
	for _, p := range programs {
		ref := name + "#" + p.path
		top.DependsOn = append(top.DependsOn, ref)
		if p.info == nil {
			d.Components = append(d.Components, component{
				Type: "file", Ref: ref, Name: p.path, Hashes: sha(sha256.Sum256(p.content)), Licenses: spdx("Apache-2.0"),
			})
			d.Dependencies = append(d.Dependencies, dependency{Ref: ref})
			continue
		}
		d.Components = append(d.Components, component{
			Type: "application", Ref: ref, Name: p.path, Version: version,
			Hashes: sha(sha256.Sum256(p.content)), Licenses: spdx("Apache-2.0"),
			Properties: settings(p.info),
		})
		needs := dependency{Ref: ref}
		std := standard(p.info.GoVersion)
		libraries[std.Ref] = std
		needs.DependsOn = append(needs.DependsOn, std.Ref)
		for _, m := range p.info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			c := module(m, p.licenses[m.Path])
			libraries[c.Ref] = c
			needs.DependsOn = append(needs.DependsOn, c.Ref)
		}
		slices.Sort(needs.DependsOn)
		d.Dependencies = append(d.Dependencies, needs)
	}
	d.Dependencies = append([]dependency{top}, d.Dependencies...)
	for _, ref := range slices.Sorted(maps.Keys(libraries)) {
		d.Components = append(d.Components, libraries[ref])
		d.Dependencies = append(d.Dependencies, dependency{Ref: ref})
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// settings are those of the build that someone needs who wants to repeat it.
func settings(info *debug.BuildInfo) []property {
	all := []property{{"go:main", info.Path}, {"go:version", info.GoVersion}}
	for _, s := range info.Settings {
		if s.Key == "GOOS" || s.Key == "GOARCH" || s.Key == "-tags" || s.Key == "-trimpath" || s.Key == "CGO_ENABLED" {
			all = append(all, property{"go:build:" + s.Key, s.Value})
		}
	}
	return all
}

// standard is Go's own library, which no list of modules names.
func standard(goVersion string) component {
	version, _, _ := strings.Cut(strings.TrimPrefix(goVersion, "go"), " ")
	purl := "pkg:golang/stdlib@" + version
	return component{Type: "library", Ref: purl, Name: "stdlib", Version: version, Licenses: spdx("BSD-3-Clause"), PURL: purl}
}

func module(m *debug.Module, license string) component {
	// A version may hold a plus sign (+incompatible), which a purl writes as %2B.
	purl := "pkg:golang/" + m.Path + "@" + url.QueryEscape(m.Version)
	c := component{Type: "library", Ref: purl, Name: m.Path, Version: m.Version, PURL: purl}
	if license != "" {
		c.Licenses = spdx(license)
	}
	if m.Sum != "" {
		c.Properties = []property{{"go:sum", m.Sum}} // a hash of the source tree, not of a file
	}
	return c
}

func spdx(id string) []licenseChoice { return []licenseChoice{{licenseID{id}}} }

func sha(sum [sha256.Size]byte) []hash {
	return []hash{{"SHA-256", hex.EncodeToString(sum[:])}}
}

// uuid makes an identifier (version 8: of one's own making) out of a hash.
func uuid(sum [sha256.Size]byte) string {
	u := [16]byte(sum[:16])
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
