package vault

import (
	"bytes"
	"encoding/json"
	"math"
	"time"

	"latchkey/internal/cred"
)

// answer is the common shape of the server's JSON.
type answer struct {
	RequestID     string         `json:"request_id"`
	LeaseID       string         `json:"lease_id"`
	LeaseDuration int            `json:"lease_duration"`
	Renewable     bool           `json:"renewable"`
	Data          map[string]any `json:"data"`
	Warnings      []string       `json:"warnings"`
	Auth          *struct {
		ClientToken   string            `json:"client_token"`
		Accessor      string            `json:"accessor"`
		Policies      []string          `json:"policies"`
		OfToken       []string          `json:"token_policies"`
		OfIdentity    []string          `json:"identity_policies"`
		Metadata      map[string]string `json:"metadata"`
		Orphan        bool              `json:"orphan"`
		EntityID      string            `json:"entity_id"`
		LeaseDuration int               `json:"lease_duration"`
		Renewable     bool              `json:"renewable"`
		TokenType     string            `json:"token_type"`
		NumUses       int               `json:"num_uses"`
	} `json:"auth"`
	WrapInfo *struct {
		Token           string    `json:"token"`
		Accessor        string    `json:"accessor"`
		TTL             int       `json:"ttl"`
		CreationTime    time.Time `json:"creation_time"`
		CreationPath    string    `json:"creation_path"`
		WrappedAccessor string    `json:"wrapped_accessor"`
	} `json:"wrap_info"`
	MountType string `json:"mount_type"`
}

// orBare takes an answer that has none of the common fields, as those of
// sys/health and of the keys of OIDC, for data as a whole. The server's own client
// does so.
func (a *answer) orBare(text []byte) {
	if a.RequestID != "" || a.LeaseID != "" || a.LeaseDuration != 0 || a.Renewable || a.Data != nil || a.Warnings != nil ||
		a.Auth != nil || a.WrapInfo != nil || a.MountType != "" {
		return
	}
	var data map[string]any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if dec.Decode(&data) != nil || data["errors"] != nil {
		return
	}
	for _, common := range []string{"request_id", "lease_id", "lease_duration", "renewable", "data", "warnings", "auth", "wrap_info", "mount_type"} {
		delete(data, common)
	}
	if len(data) > 0 {
		a.Data = data
	}
}

func (a *answer) secret(now time.Time) *cred.Secret {
	now = cred.Wall(now)
	s := &cred.Secret{
		RequestID: a.RequestID,
		Lease: cred.Lease{
			ID: a.LeaseID, Duration: lasting(a.LeaseDuration), Renewable: a.Renewable, Issued: now,
		},
		Data:      a.Data,
		Warnings:  a.Warnings,
		MountType: a.MountType,
	}
	if w := a.WrapInfo; w != nil {
		s.Wrap = &cred.WrapInfo{
			Token: cred.Redact(w.Token), Accessor: w.Accessor, TTL: lasting(w.TTL),
			CreationTime: w.CreationTime, CreationPath: w.CreationPath, WrappedAccessor: w.WrappedAccessor,
		}
	}
	if t := a.Auth; t != nil {
		s.Auth = &cred.Token{
			Value: cred.Redact(t.ClientToken), Accessor: t.Accessor, Type: t.TokenType, Policies: t.Policies,
			TokenPolicies: t.OfToken, IdentityPolicies: t.OfIdentity,
			Metadata: t.Metadata, EntityID: t.EntityID, Orphan: t.Orphan, Uses: t.NumUses,
			Lease: cred.Lease{Duration: lasting(t.LeaseDuration), Renewable: t.Renewable, Issued: now},
		}
	}
	return s
}

// tokenFromLookup reads lookup-self, whose fields stand in data. A root token
// has ttl 0 and may lack type and others; only the id is asked for.
func tokenFromLookup(s *cred.Secret, self cred.Redacted, namespace string) (cred.Token, bool) {
	id, _ := s.Data["id"].(string)
	if id == "" {
		return cred.Token{}, false
	}
	t := cred.Token{Value: self, Namespace: namespace, Lease: cred.Lease{Issued: s.Lease.Issued}}
	t.Accessor, _ = s.Data["accessor"].(string)
	t.Type, _ = s.Data["type"].(string)
	t.EntityID, _ = s.Data["entity_id"].(string)
	t.Orphan, _ = s.Data["orphan"].(bool)
	t.Policies = append(stringsOf(s.Data["policies"]), stringsOf(s.Data["identity_policies"])...)
	if n, ok := s.Data["num_uses"].(json.Number); ok {
		uses, _ := n.Int64()
		t.Uses = int(uses)
	}
	if m, ok := s.Data["meta"].(map[string]any); ok {
		t.Metadata = make(map[string]string, len(m))
		for k, v := range m {
			t.Metadata[k], _ = v.(string)
		}
	}
	t.Lease.Duration = durationOf(s.Data["ttl"])
	t.Lease.Renewable, _ = s.Data["renewable"].(bool)
	return t, true
}

func stringsOf(v any) []string {
	list, _ := v.([]any)
	out := make([]string, 0, len(list))
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// durationOf reads a number of seconds.
func durationOf(v any) time.Duration {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	sec, err := n.Int64()
	if err != nil || sec < 0 {
		return 0
	}
	return lasting(int(sec))
}

// lasting is a number of seconds as a server may send it: one that makes no
// sense is none, one beyond all years is the longest there is.
func lasting(sec int) time.Duration {
	const most = int(math.MaxInt64 / time.Second)
	return time.Duration(min(max(sec, 0), most)) * time.Second
}

// seconds rounds up, so that a short wish does not become none.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
