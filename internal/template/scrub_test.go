package template

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"testing"

	"latchkey/internal/cred"
)

const canary = "Canary-s3cr3t-5f1e"

// pieces of the canary that must not be seen either.
var pieces = []string{canary, "s3cr3t", strings.ToUpper(canary), strings.ToLower(canary), "linetwo", "Q2FuYXJ5",
	"lineoneCanary", "one%0A"}

func TestNoErrorHoldsASecret(t *testing.T) {
	r := newReader()
	r.secrets["kv/a"] = kv2(map[string]any{
		"v":     canary,
		"multi": "line one\n" + canary + "\"quoted\"\n",
		"list":  []any{map[string]any{"deep": canary}},
		"b64":   base64.StdEncoding.EncodeToString([]byte(canary)),
		"json":  `{"k": "` + canary + `"}`,
		"yaml":  "a: *" + canary,
		"key":   "-----BEGIN PRIVATE KEY-----\n" + canary + "\n-----END PRIVATE KEY-----\n",
		"short": "q7",
	})
	r.secrets["write auth/x/login"] = &cred.Secret{Auth: &cred.Token{Value: cred.Redact(canary)}}
	r.secrets["write sys/wrap"] = &cred.Secret{Wrap: &cred.WrapInfo{Token: cred.Redact(canary)}}
	env := []string{"CANARY=" + canary, "HOME=/h"}
	for _, expr := range []string{
		`.Data.data.v | parseInt`,
		`.Data.data.v | parseFloat`,
		`.Data.data.v | parseBool`,
		`.Data.data.v | base64Decode`,
		`.Data.data.v | parseJSON`,
		`.Data.data.yaml | parseYAML`,
		`.Data.data.multi | parseInt`,
		`.Data.data.multi | trimSpace | split "\n" | join " " | parseInt`,
		`.Data.data.b64 | base64Decode | parseInt`,
		`.Data.data.json | parseJSON | parseInt`,
		`.Data.data.v | toUpper | parseInt`,
		`.Data.data.v | trimPrefix "Canary-" | parseInt`,
		`.Data.data.v | plugin`,
		`plugin "/bin/sh" "-c" (printf "echo %s; exit 1" .Data.data.v)`,
		`plugin "/bin/sh" "-c" (printf "echo %s >&2; exit 1" .Data.data.v)`,
		`regexMatch (printf "(%s" .Data.data.v) "x"`,
		`sprig_fail .Data.data.v`,
		`sprig_fail (printf "bad %s!" (.Data.data.b64 | base64Decode))`,
		`sprig_fail (sprig_nospace .Data.data.multi)`,
		`sprig_fail (.Data.data.v | sprig_b64enc | trimSuffix "=")`,
		`sprig_fail (.Data.data.multi | urlquery)`,
		`eq .Data.data.list .Data.data`,
		`range .Data.data.v }}{{ end`,
		`range (.Data.data.b64 | base64Decode) }}{{ end`,
		`index .Data.data.list .Data.data.v`,
		`index .Data.data.list .Data.data.v .Data.data`,
		`mustEnv .Data.data.v`,
		`mustEnv "CANARY" | parseInt`,
		`file .Data.data.v`,
		`file (printf "/nonexistent/%s" .Data.data.v)`,
		`secret "kv/a" .Data.data.v`,
		`writeToFile "/nonexistent/x" .Data.data.v "" "0600" "x"`,
		`writeToFile "/nonexistent/x" "" "" .Data.data.v "x"`,
		`template "x" (.Data.data.v | parseInt)`,
		`executeTemplate "y" .`,
		`.Data.data.key | parseInt`,
		`(.Data.data.key | split "\n") | join "," | parseInt`,
		`.Data.data.list | toJSON | parseInt`,
		`.Data.data | toYAML | parseInt`,
		`.Data.data.v.field`,
		`call .Data.data.v`,
		`.Data.data.v 1`,
		`(secret "auth/x/login" "a=b").Auth.ClientToken | parseInt`,
		`(secret "sys/wrap" "a=b").WrapInfo.Token | parseInt`,
		`timestamp .Data.data.v | parseInt`,
		`explodeMap (sprig_dict "a" .Data.data.v "a/b" "c")`,
		`sprig_toDate .Data.data.v .Data.data.v | parseInt`,
		`sockaddr .Data.data.v`,
		`divide 0 1 | printf "%s" .Data.data.v | parseInt`,
		`toTOML .Data.data.v | parseInt`,
		`loop .Data.data.v`,
		`indent -1 .Data.data.v`,
		`byTag .Data.data.v`,
		`sprig_atoi .Data.data.v | sprig_fromJson | parseInt`,
		`pkiCert "pki/issue/a" .Data.data.v`,
	} {
		t.Run(expr, func(t *testing.T) {
			text := `{{ define "x" }}{{ end }}{{ define "y" }}{{ .Data.data.v | parseInt }}{{ end }}` +
				`{{ with secret "kv/a" }}{{ ` + expr + ` }}{{ end }}`
			var logged bytes.Buffer
			o := Options{Env: env, Log: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))}
			_, err := render(t, r, o, text, func(s *Spec) { s.ErrorOnMissingKey = true })
			if err == nil {
				t.Skip("it renders: nothing to show")
			}
			t.Log(err)
			for _, shown := range []string{err.Error(), fmt.Sprintf("%+v", err), logged.String()} {
				for _, p := range pieces {
					if strings.Contains(shown, p) {
						t.Errorf("shows %q: %s", p, shown)
					}
				}
			}
		})
	}
}

func TestAnErrorStaysReadable(t *testing.T) {
	r := newReader()
	r.secrets["kv/a"] = kv2(map[string]any{"v": canary, "x": "a", "n": "1"})
	for text, want := range map[string]string{
		"\n{{ with secret \"kv/a\" }}{{ .Data.data.v | parseInt }}{{ end }}":                                                `line 2: <parseInt>: error calling parseInt: parseInt: strconv.ParseInt: parsing [redacted]: invalid syntax`,
		`{{ with secret "kv/a" }}{{ mustEnv "DB" }}{{ end }}`:                                                               `line 1: <mustEnv "DB">: error calling mustEnv: required environment variable DB is empty`,
		"{{ define \"y\" }}{{ \"x\" | parseInt }}{{ end }}{{ with secret \"kv/a\" }}{{ executeTemplate \"y\" . }}{{ end }}": `template: :1:25: executing "y" at <parseInt>`,
	} {
		_, err := render(t, r, Options{}, text)
		wantError(t, err, ErrRender, want)
	}
}

func TestARequestIsNamedWithoutItsBody(t *testing.T) {
	_, err := render(t, newReader(), Options{}, `{{ secret "auth/x/login" "secret_id=`+canary+`" }}`)
	wantError(t, err, nil, "write auth/x/login")
	if strings.Contains(err.Error(), canary) {
		t.Error(err)
	}
}

func TestTheReportHoldsNoContent(t *testing.T) {
	r := newReader()
	r.secrets["kv/a"] = kv2(map[string]any{"v": canary})
	sp := spec(t.TempDir(), "x", `{{ with secret "kv/a" }}{{ .Data.data.v }}{{ end }}`)
	sp.Exec = &Exec{Command: []string{"curl -H token:" + canary}}
	rep, err := mustNew(t, Options{Runner: &fakeRunner{}}, sp).Render(t.Context(), r)
	if s := fmt.Sprintf("%+v", rep); err != nil || strings.Contains(s, canary) {
		t.Errorf("%v, %s", err, s)
	}
}

func TestTheLibraryDoesNotLogValues(t *testing.T) {
	var b bytes.Buffer
	old := log.Writer()
	log.SetOutput(&b)
	defer log.SetOutput(old)
	silenceLibrary()
	log.Print(canary)
	if b.Len() != 0 {
		t.Errorf("logged %s", b.String())
	}
}
