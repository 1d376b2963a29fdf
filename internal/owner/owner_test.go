//go:build unix

package owner

import (
	"os/user"
	"strconv"
	"testing"
)

func TestNamesAndNumbersAreIds(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(me.Uid)
	gid, _ := strconv.Atoi(me.Gid)
	for _, tc := range []struct {
		of    func(string) (int, error)
		name  string
		want  int
		fails string
	}{
		{User, me.Username, uid, ""},
		{User, me.Uid, uid, ""},
		{User, "1234", 1234, ""},
		{User, "0", 0, ""},
		{User, "", -1, ""},
		{User, "-1", -1, "-1 is not an id"},
		{User, "no-such-user", -1, "user: unknown user no-such-user"},
		{Group, group.Name, gid, ""},
		{Group, "1234", 1234, ""},
		{Group, "", -1, ""},
		{Group, "-7", -1, "-7 is not an id"},
		{Group, "no-such-group", -1, "group: unknown group no-such-group"},
	} {
		got, err := tc.of(tc.name)
		if got != tc.want || (err == nil) != (tc.fails == "") || err != nil && err.Error() != tc.fails {
			t.Errorf("%q: got %d, %v; want %d, %q", tc.name, got, err, tc.want, tc.fails)
		}
	}
}
