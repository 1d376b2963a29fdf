package persist

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// lanes is how many records a writer of the crash test keeps; each holds a number
// and a length that follows from it.
const lanes = 40

func crashValue(n uint64) []byte {
	b := make([]byte, 8+n*37%9000)
	binary.BigEndian.PutUint64(b, n)
	for i := 8; i < len(b); i++ {
		b[i] = byte(n)
	}
	return b
}

// writeForever is the process that is killed: it writes rounds of records, and
// tells of each that is on disk.
func writeForever(path string) {
	o := with(path, key)
	o.unsynced = false
	f, err := Open(o)
	if err != nil {
		fmt.Println("cannot open:", err)
		return
	}
	b := f.Bucket("lease")
	from := uint64(0)
	b.Each(func(_ string, value []byte) { from = max(from, binary.BigEndian.Uint64(value)) })
	for n := from + 1; ; n++ {
		for lane := range lanes {
			name := strconv.Itoa(lane)
			// Each round some records go and come, so that pages are freed.
			if (n+uint64(lane))%5 == 0 {
				b.Delete(name)
			} else {
				b.Put(name, crashValue(n))
			}
		}
		b.Put("last", crashValue(n))
		if err := f.Flush(); err != nil {
			fmt.Println("cannot write:", err)
			return
		}
		fmt.Println(n)
	}
}

func TestAFileSurvivesThatItsWriterIsKilled(t *testing.T) {
	times := 100
	if testing.Short() {
		times = 10
	}
	path := filepath.Join(t.TempDir(), "db")
	last := uint64(0)
	for i := range times {
		told := killWriter(t, path, 1+rand.IntN(12), rand.IntN(40_000))
		f, err := Open(with(path, key))
		if err != nil {
			t.Fatalf("kill %d: %v", i, err)
		}
		got := map[string]uint64{}
		f.Bucket("lease").Each(func(name string, value []byte) {
			n := binary.BigEndian.Uint64(value)
			if string(value) != string(crashValue(n)) {
				t.Fatalf("kill %d: record %s of round %d is not what was written", i, name, n)
			}
			got[name] = n
		})
		// A round is there as a whole or not at all.
		n := got["last"]
		if n < told || n < last {
			t.Fatalf("kill %d: round %d is there, %d was told to be", i, n, told)
		}
		for lane := range lanes {
			want := n
			if (n+uint64(lane))%5 == 0 {
				want = 0
			}
			if got[strconv.Itoa(lane)] != want {
				t.Fatalf("kill %d: in round %d, record %d is of round %d", i, n, lane, got[strconv.Itoa(lane)])
			}
		}
		last = n
		closed(t, f)
	}
	if n := asides(t, path); len(n) > 0 {
		t.Errorf("set aside: %v", n)
	}
	t.Logf("%d rounds, %d kills", last, times)
}

// killWriter has a process write, kills it after some rounds and a while, and
// returns the last round that it told of.
func killWriter(t *testing.T, path string, rounds, spin int) (told uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PERSIST_TEST_WRITER="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range rounds {
		if !lines.Scan() {
			t.Fatal("the writer ended by itself")
		}
		told = line(t, lines.Text())
	}
	// Somewhere in the next round.
	for sink := 0; sink < spin; sink++ {
		binary.BigEndian.PutUint64(make([]byte, 8), uint64(sink))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		told = line(t, lines.Text())
	}
	_ = cmd.Wait()
	return told
}

func line(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("the writer says %q", s)
	}
	return n
}
