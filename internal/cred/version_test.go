package cred

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

func secretOf(t *testing.T, data string) *Secret {
	t.Helper()
	s := &Secret{}
	dec := json.NewDecoder(bytes.NewReader([]byte(data)))
	dec.UseNumber()
	if err := dec.Decode(&s.Data); err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	first  = `"created_time":"2026-01-02T03:04:05.1Z","destroyed":false`
	second = `"created_time":"2026-01-02T04:04:05.1Z","destroyed":false`
)

func TestTheVersionInTheMetadataIsThatOfTheData(t *testing.T) {
	now := time.Date(2026, 1, 2, 5, 0, 0, 0, time.UTC)
	meta := secretOf(t, `{"current_version":2,"custom_metadata":{"b":"1","a":"2"},"versions":{
		"1":{`+first+`,"deletion_time":""},
		"2":{`+second+`,"deletion_time":"2026-01-02T06:00:00Z"}}}`)
	newest := secretOf(t, `{"data":{"x":"y"},"metadata":{"version":2,"custom_metadata":{"a":"2","b":"1"},`+second+`,"deletion_time":"2026-01-02T06:00:00Z"}}`)
	pinned := secretOf(t, `{"data":{"x":"y"},"metadata":{"version":1,"custom_metadata":{"a":"2","b":"1"},`+first+`,"deletion_time":""}}`)
	if v := newest.Version(now); v == "" || v != meta.MetadataVersion("", now) || v != meta.MetadataVersion("2", now) {
		t.Errorf("newest is %q and %q", v, meta.MetadataVersion("", now))
	}
	if v := pinned.Version(now); v == "" || v != meta.MetadataVersion("1", now) || v == newest.Version(now) {
		t.Errorf("version 1 is %q and %q", v, meta.MetadataVersion("1", now))
	}
	if v := newest.Version(now.Add(time.Hour)); v != "" {
		t.Errorf("a version whose time is over still has the fingerprint %q", v)
	}
}

func TestWhatHasNoVersionEqualsNone(t *testing.T) {
	now := time.Date(2026, 1, 2, 5, 0, 0, 0, time.UTC)
	for name, data := range map[string]string{
		"another engine":  `{"username":"u"}`,
		"destroyed":       `{"metadata":{"version":1,"created_time":"2026-01-02T03:04:05.1Z","deletion_time":"","destroyed":true}}`,
		"deleted":         `{"metadata":{"version":1,` + first + `,"deletion_time":"2026-01-02T04:00:00Z"}}`,
		"a strange time":  `{"metadata":{"version":1,` + first + `,"deletion_time":"soon"}}`,
		"metadata a text": `{"metadata":"x"}`,
	} {
		if v := secretOf(t, data).Version(now); v != "" {
			t.Errorf("%s has the version %q", name, v)
		}
	}
	for name, data := range map[string]string{
		"no versions yet":    `{"current_version":0,"versions":{}}`,
		"nothing":            `{}`,
		"a version not kept": `{"current_version":3,"versions":{"2":{` + first + `,"deletion_time":""}}}`,
	} {
		if v := secretOf(t, data).MetadataVersion("", now); v != "" {
			t.Errorf("%s: metadata has the version %q", name, v)
		}
	}
}

func TestChangedCustomMetadataIsAnotherVersion(t *testing.T) {
	now := time.Now()
	a := secretOf(t, `{"metadata":{"version":1,"custom_metadata":{"owner":"a"},`+first+`,"deletion_time":""}}`)
	b := secretOf(t, `{"metadata":{"version":1,"custom_metadata":{"owner":"b"},`+first+`,"deletion_time":""}}`)
	if a.Version(now) == b.Version(now) {
		t.Error("a template that shows the owner would not be rendered again")
	}
}
