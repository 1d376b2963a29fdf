// Package formats holds what latchkey writes for Prometheus, OpenTelemetry and
// CycloneDX against the parsers of those projects.
//
// It is a module of its own, because those parsers and what they need are heavier
// than the product; it reads the samples that the tests of internal/telemetry keep
// current and what layer/mklayer writes, and links nothing of latchkey.
package formats
