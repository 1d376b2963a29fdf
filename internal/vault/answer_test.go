package vault

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAnAnswerWithoutTheCommonFieldsIsDataAsAWhole(t *testing.T) {
	for body, want := range map[string]string{
		`{"keys":[{"kid":"k"}],"n":1.50}`:          `{"keys":[{"kid":"k"}],"n":1.50}`,
		`{"request_id":"r","data":null,"keys":[]}`: `null`,
		`{"request_id":"","lease_id":"","renewable":false,"lease_duration":0,"data":null,"warnings":null}`: `null`,
		`{"data":{},"keys":[]}`:      `{}`,
		`{"errors":["x"],"keys":[]}`: `null`,
		`{}`:                         `null`,
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		c, err := New(Config{Address: srv.URL})
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Read(t.Context(), "identity/oidc/.well-known/keys", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := json.Marshal(s.Data); string(got) != want {
			t.Errorf("%s is read as %s, want %s", body, got, want)
		}
		_ = c.Close()
		srv.Close()
	}
}
