package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/e2e/server"
)

// The agreement that docs/compatibility.md speaks of, asked of the real agent:
// whole configurations in testdata/verdict, and the rows of verdict_table_test.go
// for one key after the other. What is expected is one of these words; a file's
// name begins with it, or both accept the file.
const (
	accept = "accept" // both do
	refuse = "refuse" // both do
	// unknown: the agent passes over keys that it does not know, latchkey
	// does so with -lenient.
	unknown = "unknown"
	// later: the method is one that latchkey does not have yet, and nothing
	// else is wrong.
	later = "later"
	// more: latchkey accepts what the agent refuses.
	more = "more"
	// start: the agent finds the fault only when it is started.
	start = "start"
	// less: latchkey refuses what the agent runs with.
	less = "less"
)

func TestCheckAgreesWithTheRealAgent(t *testing.T) {
	agent, err := server.Binary(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	j := judges{agent, program(t)}
	t.Run("whole configurations", j.files)
	t.Run("one key after the other", j.table)
}

// judges are the two programs, by path.
type judges struct{ agent, latchkey string }

func (j judges) files(t *testing.T) {
	files, err := filepath.Glob("testdata/verdict/*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		want, _, _ := strings.Cut(filepath.Base(f), "-")
		switch want {
		case refuse, unknown, later, more, start, less:
		default:
			want = accept
		}
		t.Run(filepath.Base(f), func(t *testing.T) {
			t.Parallel()
			path, err := filepath.Abs(f)
			if err != nil {
				t.Fatal(err)
			}
			j.compare(t, path, want)
		})
	}
}

func (j judges) table(t *testing.T) {
	dir := t.TempDir()
	for i, row := range verdicts {
		t.Run(row.keys, func(t *testing.T) {
			t.Parallel()
			for _, group := range []struct {
				want   string
				values []string
			}{
				{accept, row.accept}, {refuse, row.refuse}, {unknown, row.unknown},
				{more, row.more}, {start, row.start}, {less, row.less},
			} {
				for k, v := range group.values {
					path := filepath.Join(dir, fmt.Sprintf("%d-%s-%d.hcl", i, group.want, k))
					if err := os.WriteFile(path, []byte(row.with(v)), 0o600); err != nil {
						t.Fatal(err)
					}
					j.compare(t, path, group.want)
				}
			}
		})
	}
}

// with is the configuration in which a value stands.
func (a about) with(value string) string {
	text := strings.ReplaceAll(a.text, "@", value)
	for range 2 { // pieces hold pieces
		for name, p := range pieces {
			text = strings.ReplaceAll(text, "{"+name+"}", p)
		}
	}
	return text
}

func (j judges) compare(t *testing.T, path, want string) {
	t.Helper()
	agent, said := j.agentAccepts(t, path)
	strict, why := j.accepted(t, path)
	lenient, left := j.accepted(t, path, "-lenient")
	var got string
	switch {
	case agent && strict:
		got = accept
	case !agent && !strict:
		got = refuse
	case strict:
		got = more
	case lenient:
		got = unknown
	case notBuilt(left):
		got = later
	case want == less:
		got = less // that it runs was seen when the row was written
	case j.startRefuses(t, path):
		got = start
	default:
		got = less
	}
	if got != want {
		text, _ := os.ReadFile(path)
		t.Errorf("%s: %q, want %q\nvault agent: %s\nlatchkey: %s\n%s", filepath.Base(path), got, want, said, why, text)
	}
}

// environment has nothing in it that could change a verdict.
func environment(t *testing.T) []string {
	home := t.TempDir()
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home}
}

// run runs a program to its end, or until ctx is over.
func run(ctx context.Context, t *testing.T, env []string, name string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Dir = env, t.TempDir()
	raw, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", name, err)
	}
	return string(raw), cmd.ProcessState.ExitCode()
}

// agentAccepts asks the agent to parse and validate, and no more.
func (j judges) agentAccepts(t *testing.T, path string) (ok bool, said string) {
	t.Helper()
	out, code := run(t.Context(), t, environment(t), j.agent, "agent", "-config="+path, "-test-verify-only")
	return code == 0, strings.TrimSpace(out)
}

// startRefuses starts the agent and reports whether it ends by itself instead
// of trying to log in.
func (j judges) startRefuses(t *testing.T, path string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, code := run(ctx, t, environment(t), j.agent, "agent", "-config="+path)
	return ctx.Err() == nil && code > 0
}

// accepted asks latchkey, and returns the problems that it names.
func (j judges) accepted(t *testing.T, path string, flags ...string) (ok bool, problems []string) {
	t.Helper()
	out, code := run(t.Context(), t, environment(t), j.latchkey, append([]string{"check", "-format", "json", "-config", path}, flags...)...)
	var answer struct {
		OK       bool
		Problems []struct{ Key, Text string }
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("latchkey check: %v\n%s", err, out)
	}
	for _, p := range answer.Problems {
		problems = append(problems, p.Key+": "+p.Text)
	}
	switch {
	case code == 0 && answer.OK && len(problems) == 0:
		return true, nil
	case code == 2 && !answer.OK && len(problems) > 0:
		return false, problems
	}
	t.Fatalf("latchkey check: code %d with this answer:\n%s", code, out)
	return false, nil
}

func notBuilt(problems []string) bool {
	for _, p := range problems {
		if !strings.Contains(p, "not built yet") {
			return false
		}
	}
	return true
}
