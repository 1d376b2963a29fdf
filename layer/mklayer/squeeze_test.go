package main

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"os"
	"testing"
)

func inflated(t testing.TB, packed []byte) []byte {
	t.Helper()
	r := bytes.NewReader(packed)
	text, err := io.ReadAll(flate.NewReader(r))
	if err != nil {
		t.Fatal(err)
	}
	if r.Len() != 0 {
		t.Fatalf("%d bytes are left over", r.Len())
	}
	return text
}

func quick(t testing.TB, text []byte) int {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Len()
}

func TestWhatIsSqueezedIsReadByEverybody(t *testing.T) {
	const chunk = 1 << 16
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 40_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	skewed := make([]byte, 0, 300_000) // counts like Fibonacci's numbers want codes that are too long
	for i, n := 0, 1; i < 21; i++ {
		skewed = append(skewed, bytes.Repeat([]byte{byte(i)}, n)...)
		n += n * 3 / 5
		n++
	}
	for i := range skewed {
		j := random.IntN(i + 1)
		skewed[i], skewed[j] = skewed[j], skewed[i]
	}
	far := append(append(bytes.Clone(noise[:1000]), noise[2000:2000+window-1000]...), noise[:1000]...) // a match of the greatest distance
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"nothing": {}, "one byte": {'x'}, "two": []byte("ab"), "a run": bytes.Repeat([]byte{'a'}, 1000),
		"noise": noise, "skewed": skewed, "far": far, "zeros": make([]byte, chunk+chunk/2),
		"over the end of a chunk": append(make([]byte, chunk-5), []byte("hello hello hello hello")...),
		"a program":               program[:min(len(program), 100_000)],
	} {
		packed := squeeze(text, chunk)
		if !bytes.Equal(inflated(t, packed), text) {
			t.Errorf("%s: another text comes out", name)
		}
		if q := quick(t, text); len(packed) > q+q/50+20 {
			t.Errorf("%s: %d bytes, %d by the quick way", name, len(packed), q)
		}
		if !bytes.Equal(packed, squeeze(text, chunk)) {
			t.Errorf("%s: another time it is something else", name)
		}
	}
}

func TestSqueezingAProgramIsWorthIt(t *testing.T) {
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	text := program[:min(len(program), 400_000)]
	if got, q := len(squeeze(text, chunkSize)), quick(t, text); got > q*97/100 {
		t.Errorf("%d bytes, %d by the quick way", got, q)
	}
}

func FuzzSqueeze(f *testing.F) {
	f.Add([]byte("hello hello"), uint8(3))
	f.Add([]byte{0, 1, 2, 3, 0, 1, 2, 4}, uint8(200))
	f.Fuzz(func(t *testing.T, text []byte, times uint8) {
		text = bytes.Repeat(text, int(times)+1)
		if len(text) > 1<<16 {
			t.Skip()
		}
		if !bytes.Equal(inflated(t, squeeze(text, 1000)), text) {
			t.Error("another text comes out")
		}
	})
}

// No code that the counts allow is shorter, and each can be told from the others.
func FuzzCodeLengths(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4}, uint8(15))
	f.Add([]byte{1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89}, uint8(7))
	f.Fuzz(func(t *testing.T, given []byte, limit uint8) {
		limit = 9 + limit%7
		counts := make([]int, min(len(given), literals))
		used := 0
		for i := range counts {
			if counts[i] = int(given[i]); counts[i] > 0 {
				used++
			}
		}
		sum := 0
		for i, l := range codeLengths(counts, int(limit)) {
			if (l > 0) != (counts[i] > 0) || l > limit {
				t.Fatalf("symbol %d, used %d times, has a code of %d bits", i, counts[i], l)
			}
			if l > 0 {
				sum += 1 << (limit - l)
			}
		}
		if full := 1 << limit; used > 1 && sum != full || sum > full {
			t.Errorf("the codes fill %d of %d", sum, full)
		}
	})
}
