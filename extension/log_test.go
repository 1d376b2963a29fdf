package extension

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"latchkey/internal/loglevel"
)

func TestLinesHaveTheKeysOfLambdasLogs(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(&out, slog.LevelInfo, true)
	log.Debug("not this")
	Named(log, "auth").Warn("a token", "ttl", time.Hour, slog.Group("next", "in", 90*time.Second))
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse("2006-01-02T15:04:05.000Z", line["timestamp"].(string))
	if err != nil || time.Since(at) > time.Minute {
		t.Error(line["timestamp"])
	}
	for key, want := range map[string]any{"level": "WARN", "message": "a token", "module": "auth", "ttl": "1h0m0s"} {
		if line[key] != want {
			t.Errorf("%s is %v", key, line[key])
		}
	}
	if next, _ := line["next"].(map[string]any); next["in"] != "1m30s" {
		t.Error(line["next"])
	}
}

func TestLinesForPeople(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(&out, loglevel.Trace, false)
	log.Log(t.Context(), loglevel.Trace, "a step")
	log.With("@module", "lease").Error("an end", "after", time.Second)
	for _, want := range []string{"level=TRACE msg=\"a step\"", "level=ERROR", "module=lease", "after=1s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out.String())
		}
	}
}
