// Package samples holds configurations to copy, each of which a test loads and
// checks, and quickstart, which shows one of them at work.
package samples
