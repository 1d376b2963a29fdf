package exchange

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestARefusalLooksLikeOneOfTheServers(t *testing.T) {
	w := httptest.NewRecorder()
	Refuse(w, http.StatusForbidden, `no "such" thing`)
	if got, want := w.Body.String(), `{"errors":["no \"such\" thing"]}`+"\n"; w.Code != http.StatusForbidden || got != want {
		t.Errorf("%d %s", w.Code, got)
	}
	if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Length") != "33" {
		t.Errorf("%v", w.Header())
	}
}
