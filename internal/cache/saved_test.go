package cache

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
)

func TestWhatWasRevokedIsOffTheDiskBeforeAnybodyHearsOfIt(t *testing.T) {
	for name, end := range map[string]func(k *kin){
		"revoked": func(k *kin) { k.ask(by("root", "PUT", "/v1/sys/leases/revoke-prefix/mq", ""), "root", 204, "") },
		"passed":  func(k *kin) { k.c.Passed(by("root", "PUT", "/v1/sys/leases/revoke-prefix/mq", ""), 204) },
		"cleared": func(k *kin) { k.post("POST", `{"type":"request_path","value":"/v1/mq"}`) },
	} {
		k := household(t)
		before := len(k.store.names())
		k.store.settled = -1
		end(k)
		if after := len(k.store.names()); k.store.settled != after || after >= before {
			t.Errorf("%s: of %d records %d were left, and %d when the disk was waited for", name, before, after, k.store.settled)
		}
	}
}

func TestWhatWasCachedIsThereAfterARestart(t *testing.T) {
	k := household(t)
	before := k.leases.keys()
	want, _ := k.c.Look(by("@default", "GET", app, ""))
	r := k.restarted()
	if n := r.c.Restore(now()); n != len(everything) {
		t.Errorf("%d answers came back, want %d", n, len(everything))
	}
	r.living(everything...)
	r.kept(before...)
	got, _ := r.c.Look(by("@default", "GET", app, ""))
	if string(got.Body) != string(want.Body) || got.Status != want.Status || !got.At.Equal(want.At) || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("another answer: %+v, was %+v", got, want)
	}
	// What ended by the old tree ends by the new one.
	r.ask(by("root", "POST", "/v1/auth/token/revoke", `{"token":"child"}`), "", 204, "")
	r.living(except("child", "child's", "grand", "grand's")...)
	r.ask(by("root", "PUT", "/v1/sys/leases/revoke-prefix/db/creds/role", ""), "", 204, "")
	r.living("app", "app2", "role", "alice")
	if k.server.lookups != 1 || r.server.lookups != 0 {
		t.Error("a token was looked up again")
	}
	if h := r.leases.get(t, "token acc-alice"); h.Renew != nil {
		t.Error("a client's token is renewed after the restart")
	}
	r.leases.renew(t, "token acc-role")
}

func TestTheSameIdentityGoesOnAfterARestart(t *testing.T) {
	k := household(t)
	same := k.restarted()
	same.c.Restore(now())
	same.adopt("default", "ours")
	same.living(everything...)

	another := k.restarted()
	another.c.Restore(now())
	before := another.leases.keys()
	another.adopt("default", "ours2")
	another.living("role", "role's", "alice")
	another.kept(before...)

	// The old leases are still kept alive after one more restart.
	third := k.restarted()
	if third.c.Restore(now()); len(third.leases.keys()) != len(before) {
		t.Errorf("kept alive are %q, were %q", third.leases.keys(), before)
	}
	third.living("role", "role's", "alice")
}

func TestWhatEndedMeanwhileDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := household(t)
		time.Sleep(30 * time.Second)
		k.leases.renew(t, "db/creds/app/lease1")
		k.leases.renew(t, "token acc-role")
		time.Sleep(30 * time.Second) // all other leases have ended
		r := k.restarted()
		if n := r.c.Restore(now()); n != 4 {
			t.Errorf("%d answers came back", n)
		}
		r.living("app", "child", "grand", "role")
		r.kept("db/creds/app/lease1", "token acc-alice", "token acc-child", "token acc-grand", "token acc-role")
		time.Sleep(30 * time.Second)
		r.living("child", "grand")
		r = k.restarted()
		r.c.Restore(now())
		r.living("child", "grand")
		time.Sleep(time.Hour)
		r = k.restarted()
		r.c.Restore(now())
		r.living()
		r.kept()
		if names := k.store.names(); len(names) != 1 {
			t.Errorf("records of what is over: %q", names)
		}
	})
}

func TestARecordThatMakesNoSenseIsDropped(t *testing.T) {
	edit := func(prefix string, change func(map[string]any)) func(*kin) {
		return func(k *kin) {
			for name, value := range k.store.m {
				if strings.HasPrefix(name, prefix) {
					var fields map[string]any
					if err := json.Unmarshal(value, &fields); err != nil {
						t.Fatal(err)
					}
					change(fields)
					k.store.m[name], _ = json.Marshal(fields)
				}
			}
		}
	}
	set := func(prefix, field string, value any) func(*kin) {
		return edit(prefix, func(m map[string]any) { m[field] = value })
	}
	year := float64(365 * 24 * time.Hour)
	all := everything
	logins := []string{"role", "child", "grand"}
	for name, tc := range map[string]struct {
		spoil  func(*kin)
		living []string
	}{
		"nothing wrong":           {func(*kin) {}, all},
		"rubbish":                 {func(k *kin) { k.store.m["x"], k.store.m["lease/y"] = []byte("x"), []byte(`{}`) }, all},
		"all rubbish":             {func(k *kin) { clearTo(k, "\x00") }, nil},
		"all empty":               {func(k *kin) { clearTo(k, "") }, nil},
		"all null":                {func(k *kin) { clearTo(k, "null") }, nil},
		"a lease of another name": {set("lease/db/creds/app/lease1", "id", "db/creds/app/other"), except("app")},
		"a lease of no token":     {set("lease/db/creds/app/lease1", "parent", ""), except("app")},
		"a lease of a lost token": {set("lease/db/creds/app/lease1", "parent", "00"), except("app")},
		"a lease without end":     {set("lease/db/creds/app/lease1", "length", 0), except("app")},
		"a lease of minus":        {set("lease/db/creds/app/lease1", "length", -5), except("app")},
		"a lease of the future":   {set("lease/db/creds/app/lease1", "issued", float64(now().UnixNano())+year), except("app")},
		"a lease for ages":        {set("lease/db/creds/app/lease1", "length", 9e18), except("app")},
		"a token of another name": {set("token/", "token", "another"), nil},
		"no tokens":               {func(k *kin) { loseAll(k, "token/") }, nil},
		"no answers":              {func(k *kin) { loseAll(k, "answer/") }, nil},
		"no leases":               {func(k *kin) { loseAll(k, "lease/") }, logins},
		"an answer that is none":  {set("answer/", "body", "eA=="), nil},
		"an answer of an error":   {set("answer/", "status", 500), nil},
		"an answer of tomorrow":   {set("answer/", "at", float64(now().UnixNano())+year), nil},
		"one key for all":         {set("lease/", "key", strings.Repeat("0", 64)), logins},
		"a short key":             {set("lease/", "key", "00"), logins},
		"no key":                  {set("lease/", "key", ""), logins},
		"a circle": {edit("token/", func(m map[string]any) {
			m["parent"] = idOf(cred.Redact(m["token"].(string))).String()
		}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := household(t)
			tc.spoil(k)
			r := k.restarted()
			r.c.Restore(now())
			r.living(tc.living...)
			again := r.restarted()
			again.c.Restore(now())
			again.living(tc.living...)
		})
	}
}

func clearTo(k *kin, value string) {
	for name := range k.store.m {
		k.store.m[name] = []byte(value)
	}
}

func loseAll(k *kin, prefix string) {
	for name := range k.store.m {
		if strings.HasPrefix(name, prefix) {
			delete(k.store.m, name)
		}
	}
}

func TestALeaseWhoseAnswerIsLostIsStillKeptAlive(t *testing.T) {
	k := household(t)
	before := k.leases.keys()
	loseAll(k, "answer/")
	r := k.restarted()
	r.c.Restore(now())
	r.kept(before...)
}

func TestACacheWithLessRoomTakesWhatFits(t *testing.T) {
	k := household(t)
	r := newKin(t, func(o *Options) { o.Store, o.MaxEntries = k.store, 4 })
	r.store = k.store
	if n := r.c.Restore(now()); n != 4 {
		t.Errorf("%d came back", n)
	}
	r.sound()
}

func TestWithoutAStoreNothingIsRestored(t *testing.T) {
	k := newKin(t, func(o *Options) { o.Store = nil })
	k.adopt("default", "ours")
	k.creds("@default", "ours", app)
	k.c.clear(clearing{Type: "all"})
	if n := k.c.Restore(now()); n != 0 {
		t.Errorf("%d came back", n)
	}
}

// A line of tokens that is longer than any is cut off, and not followed until the
// stack is full.
func TestALongLineOfTokensIsCut(t *testing.T) {
	k := newKin(t)
	parent := ""
	for i := range 10_000 {
		tok := cred.Redact(fmt.Sprintf("t%d", i))
		value, err := json.Marshal(savedMember{ID: fmt.Sprint(i), Token: tok.Reveal(), Parent: parent, Issued: now().UnixNano()})
		if err != nil {
			t.Fatal(err)
		}
		parent = idOf(tok).String()
		k.store.Put(aToken+parent, value)
	}
	k.c.Restore(now())
	k.sound()
}

func FuzzRestore(f *testing.F) {
	k := household(f)
	for _, name := range k.store.names() {
		f.Add(name, k.store.m[name], "x", []byte("null"))
	}
	f.Add("lease/a/b", []byte(`{"id":"a/b","parent":"00","issued":1,"length":1}`), "token/00", []byte(`{"token":"x","issued":1}`))
	f.Fuzz(func(t *testing.T, name string, value []byte, name2 string, value2 []byte) {
		k := household(t)
		k.store.Put(name, value)
		k.store.Put(name2, value2)
		r := k.restarted()
		if n := r.c.Restore(now()); n != len(r.c.family.byKey) {
			t.Errorf("said to have taken back %d, has %d", n, len(r.c.family.byKey))
		}
		r.sound()
		for _, m := range r.c.family.byKey {
			if m.until == 0 && !m.isToken() {
				t.Error("a lease without end is given out")
			}
		}
	})
}
