//go:build race

package daemonmode_test

const raceDetector = true
