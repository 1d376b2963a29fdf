package template

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"latchkey/internal/cred"
)

// inTurn answers one request after the other and looks around in between.
type inTurn struct {
	answer  func(Request) Result
	between func(answered int)
}

func (r inTurn) ReadAll(ctx context.Context, reqs []Request) []Result {
	out := make([]Result, len(reqs))
	r.ReadEach(ctx, reqs, func(i int, res Result) { out[i] = res })
	return out
}

func (r inTurn) ReadEach(_ context.Context, reqs []Request, each func(int, Result)) {
	for i, req := range reqs {
		each(i, r.answer(req))
		r.between(i + 1)
	}
}

func secretNamed(req Request) Result {
	if req.Path == "kv/none" {
		return Result{Err: errors.New("404 nothing there")}
	}
	return Result{Secret: &cred.Secret{Data: map[string]any{"v": req.Path}}}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func reading(path string) Spec {
	return Spec{Contents: `{{ with secret "kv/` + path + `" }}{{ .Data.v }}{{ end }}`, ErrorFatal: true}
}

func TestATemplateIsWrittenWhileOthersWaitForTheirSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		a, b := reading("a"), reading("b")
		a.Destination, b.Destination = filepath.Join(dir, "a"), filepath.Join(dir, "b")
		set, err := New([]Spec{a, b}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = set.Render(t.Context(), inTurn{secretNamed, func(answered int) {
			synctest.Wait()
			if got := exists(a.Destination); got != (answered >= 1) {
				t.Errorf("after %d answers the first file exists: %v", answered, got)
			}
			if got := exists(b.Destination); got != (answered >= 2) {
				t.Errorf("after %d answers the second file exists: %v", answered, got)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestNothingIsWrittenOutOfTurnWhereTemplatesShareFiles(t *testing.T) {
	dir := t.TempDir()
	shared := filepath.Join(dir, "shared")
	for name, specs := range map[string][]Spec{
		"one destination": {
			{Contents: `{{ with secret "kv/a" }}{{ .Data.v }}{{ end }}`, Destination: shared},
			{Contents: `{{ with secret "kv/b" }}{{ .Data.v }}{{ end }}`, Destination: filepath.Join(dir, ".", "shared")},
		},
		"a side file": {
			{Contents: `{{ with secret "kv/a" }}{{ .Data.v }}{{ end }}`, Destination: shared},
			{Contents: `{{ with secret "kv/b" }}{{ .Data.v | writeToFile "` + shared + `" "" "" "0600" }}{{ end }}`, Destination: filepath.Join(dir, "other")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := New(specs, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err = set.Render(t.Context(), inTurn{secretNamed, func(int) {
				if exists(shared) {
					t.Error("written before all answers are there")
				}
			}}); err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(shared); string(got) != "kv/b" {
				t.Errorf("the file holds %q, the last template should have won", got)
			}
			_ = os.Remove(shared)
		})
	}
}

func TestAFailedAnswerFailsItsTemplateAlone(t *testing.T) {
	dir := t.TempDir()
	a, b := reading("none"), reading("b")
	a.Destination, b.Destination = filepath.Join(dir, "a"), filepath.Join(dir, "b")
	set, err := New([]Spec{a, b}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := set.Render(t.Context(), inTurn{secretNamed, func(int) {}})
	if err == nil || rep.Templates[0].Err == nil || rep.Templates[1].Err != nil || exists(a.Destination) || !exists(b.Destination) {
		t.Errorf("error %v, report %+v", err, rep)
	}
}

func TestASecretThatNamesAnotherIsFollowedByStream(t *testing.T) {
	dest := filepath.Join(t.TempDir(), "a")
	set, err := New([]Spec{{
		Contents:    `{{ with secret "kv/a" }}{{ with secret (printf "%s/next" .Data.v) }}{{ .Data.v }}{{ end }}{{ end }}`,
		Destination: dest, ErrorFatal: true,
	}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := set.Render(t.Context(), inTurn{secretNamed, func(int) {}})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(dest); string(got) != "kv/a/next" || rep.Requests != 2 {
		t.Errorf("file %q after %d requests", got, rep.Requests)
	}
}
