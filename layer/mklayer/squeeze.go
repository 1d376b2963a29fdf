package main

import (
	"math"
	"runtime"
	"slices"
	"sync"
)

// What compress/flate writes is quickly made. A layer is compressed once and fetched
// at every deployment, so here time is spent instead: of all ways to say a text in
// the words of deflate (RFC 1951) the shortest is looked for, by the lengths that
// the codes of the last attempt had. Whoever reads deflate reads it; it is some six
// percent shorter.

const (
	chunkSize = 1 << 20 // what is looked at together in a zip
	window    = 1 << 15
	minMatch  = 3
	maxMatch  = 258
	chain     = 400 // places that are compared with each
	rounds    = 8   // attempts at a block

	endOfBlock = 256
	literals   = 286
	distances  = 30
)

// squeeze compresses text, looking at size bytes together. The same text gives the
// same bytes.
func squeeze(text []byte, size int) []byte {
	var starts []int
	for at := 0; at < len(text) || at == 0; at += size {
		starts = append(starts, at)
	}
	blocks := make([][]block, len(starts))
	turn := make(chan struct{}, runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	for i, start := range starts {
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			c := newChunk(text, start, min(start+size, len(text)))
			blocks[i] = c.blocks()
		})
	}
	all.Wait()
	var w bitWriter
	for i, bs := range blocks {
		for j, b := range bs {
			b.write(&w, i == len(blocks)-1 && j == len(bs)-1)
		}
	}
	return w.bytes()
}

// word is a literal (dist 0) or a match.
type word struct {
	length uint16 // of a literal, its byte
	dist   uint16 // less one is what fits; 32768 is 0x8000
}

// lengthSymbol, lengthExtra, distSymbol and distExtra are RFC 1951's tables, spread
// out.
var (
	lengthSymbol [maxMatch + 1]uint16
	lengthExtra  [maxMatch + 1]uint8
	lengthBase   [maxMatch + 1]uint16
	distSymbol   [window + 1]uint8
	distExtra    [distances]uint8
	distBase     [distances]int
)

func init() {
	length, symbol := 3, 257
	for extra := range uint8(6) {
		groups := 4
		if extra == 0 {
			groups = 8
		}
		for range groups {
			for i := range 1 << extra {
				if length+i < maxMatch {
					lengthSymbol[length+i], lengthExtra[length+i], lengthBase[length+i] = uint16(symbol), extra, uint16(length)
				}
			}
			length, symbol = length+1<<extra, symbol+1
		}
	}
	lengthSymbol[maxMatch], lengthExtra[maxMatch], lengthBase[maxMatch] = 285, 0, maxMatch
	dist := 1
	for s := range distances {
		extra := max(0, s/2-1)
		distExtra[s], distBase[s] = uint8(extra), dist
		for i := range 1 << extra {
			distSymbol[dist+i] = uint8(s)
		}
		dist += 1 << extra
	}
}

// chunk is a part of a text, which is said in blocks of its own; matches may reach
// into what stands before it.
type chunk struct {
	text       []byte
	start, end int
	// from[i] is where the matches of start+i begin in matches; each is longer and
	// farther away than the one before.
	from    []int32
	matches []word
}

func newChunk(text []byte, start, end int) *chunk {
	c := &chunk{text: text, start: start, end: end}
	c.find()
	return c
}

// find lists at each place the nearest match of each length.
func (c *chunk) find() {
	const bits = 16
	hash := func(i int) uint32 {
		return (uint32(c.text[i]) | uint32(c.text[i+1])<<8 | uint32(c.text[i+2])<<16) * 0x9E3779B1 >> (32 - bits)
	}
	head := make([]int32, 1<<bits)
	for i := range head {
		head[i] = -1
	}
	first := max(0, c.start-window)
	last := make([]int32, c.end-first) // the place before with the same hash
	c.from = make([]int32, 1, c.end-c.start+1)
	for i := first; i < c.end; i++ {
		if i+minMatch > c.end {
			if i >= c.start {
				c.from = append(c.from, int32(len(c.matches)))
			}
			continue
		}
		h := hash(i)
		if i >= c.start {
			limit := min(maxMatch, c.end-i)
			best := minMatch - 1
			for j, tries := head[h], chain; j >= 0 && tries > 0 && i-int(j) <= window; j, tries = last[int(j)-first], tries-1 {
				at := int(j)
				if c.text[at+best] != c.text[i+best] {
					continue
				}
				n := 0
				for n < limit && c.text[at+n] == c.text[i+n] {
					n++
				}
				if n > best {
					best = n
					c.matches = append(c.matches, word{uint16(n), uint16(i - at)})
					if n == limit {
						break
					}
				}
			}
			c.from = append(c.from, int32(len(c.matches)))
		}
		last[i-first], head[h] = head[h], int32(i)
	}
}

// costs are what words cost, in bits.
type costs struct {
	literal [256]float32
	length  [maxMatch + 1]float32
	dist    [distances]float32
}

// count is how often each symbol is used; the end of the block is counted once.
type count struct {
	literal [literals]int
	dist    [distances]int
}

func (n *count) add(words []word) {
	for _, w := range words {
		if w.dist == 0 {
			n.literal[w.length]++
		} else {
			n.literal[lengthSymbol[w.length]]++
			n.dist[distSymbol[w.dist]]++
		}
	}
}

// costs is what a code would take that fits the counts.
func (n *count) costs() *costs {
	bits := func(counts []int) []float32 {
		total := 0
		for _, c := range counts {
			total += c
		}
		out := make([]float32, len(counts))
		for i, c := range counts {
			// What is not used may be, at the price of the rarest.
			out[i] = float32(math.Log2(float64(max(total, 1)) / float64(max(c, 1))))
		}
		return out
	}
	var k costs
	l, d := bits(n.literal[:]), bits(n.dist[:])
	copy(k.literal[:], l)
	for i := minMatch; i <= maxMatch; i++ {
		k.length[i] = l[lengthSymbol[i]] + float32(lengthExtra[i])
	}
	for i := range k.dist {
		k.dist[i] = d[i] + float32(distExtra[i])
	}
	return &k
}

// plain are costs to begin with.
func plain() *costs {
	var k costs
	for i := range k.literal {
		k.literal[i] = 8
	}
	for i := minMatch; i <= maxMatch; i++ {
		k.length[i] = 7 + float32(lengthExtra[i])
	}
	for i := range k.dist {
		k.dist[i] = 5 + float32(distExtra[i])
	}
	return &k
}

// cheapest says the text between two places in the words that cost the least.
func (c *chunk) cheapest(from, to int, k *costs) []word {
	n := to - from
	price := make([]float32, n+1)
	how := make([]word, n+1)
	for i := range price {
		price[i] = math.MaxFloat32
	}
	price[0] = 0
	var run uint16 // how far back the matches of a long run lie
	for i := range n {
		here := price[i]
		b := c.text[from+i]
		if p := here + k.literal[b]; p < price[i+1] {
			price[i+1], how[i+1] = p, word{uint16(b), 0}
		}
		at := from + i - c.start
		length := minMatch
		ms := c.matches[c.from[at]:c.from[at+1]]
		if len(ms) > 0 && ms[len(ms)-1].length == maxMatch && i+maxMatch <= n {
			// Inside of a long run shorter matches gain nothing, and there are very
			// many ways to say it.
			if run == ms[len(ms)-1].dist {
				length, ms = maxMatch, ms[len(ms)-1:]
			} else {
				run = ms[len(ms)-1].dist
			}
		} else {
			run = 0
		}
		for _, m := range ms {
			base := here + k.dist[distSymbol[m.dist]]
			for ; length <= int(m.length) && i+length <= n; length++ {
				if p := base + k.length[length]; p < price[i+length] {
					price[i+length], how[i+length] = p, word{uint16(length), m.dist}
				}
			}
		}
	}
	var words []word
	for i := n; i > 0; {
		w := how[i]
		words = append(words, w)
		if w.dist == 0 {
			i--
		} else {
			i -= int(w.length)
		}
	}
	slices.Reverse(words)
	return words
}

// blocks says the chunk: where to begin new codes is decided by a first attempt at
// the whole, and then each block is said for itself, again and again, by the costs
// of the attempt before.
func (c *chunk) blocks() []block {
	k := plain()
	var words []word
	for range 3 {
		words = c.cheapest(c.start, c.end, k)
		n := count{}
		n.add(words)
		k = n.costs()
	}
	var out []block
	at := c.start
	for _, part := range split(words) {
		to := at
		for _, w := range part {
			if w.dist == 0 {
				to++
			} else {
				to += int(w.length)
			}
		}
		best := newBlock(part)
		k := best.count.costs()
		for range rounds {
			b := newBlock(c.cheapest(at, to, k))
			k = b.count.costs()
			if b.size < best.size {
				best = b
			}
		}
		out, at = append(out, best), to
	}
	return out
}

// step is between places where a block may begin, in words.
const step = 512

// split parts words where codes of their own pay for themselves.
func split(words []word) [][]word {
	sums := []count{{}}
	for i := 0; i < len(words); i += step {
		n := sums[len(sums)-1]
		n.add(words[i:min(i+step, len(words))])
		sums = append(sums, n)
	}
	size := func(a, b int) float64 {
		bits := 0.0
		part := func(from, to []int) {
			total, used := 0, 0
			for i := range from {
				if n := to[i] - from[i]; n > 0 {
					bits -= float64(n) * math.Log2(float64(n))
					total, used = total+n, used+1
				}
			}
			if total > 0 {
				bits += float64(total) * math.Log2(float64(total))
			}
			bits += 3.5 * float64(used) // roughly what a code takes to be told
		}
		part(sums[a].literal[:], sums[b].literal[:])
		part(sums[a].dist[:], sums[b].dist[:])
		return bits + 100
	}
	var cuts []int
	var cut func(a, b int)
	cut = func(a, b int) {
		best, where := size(a, b), 0
		for m := a + 1; m < b; m++ {
			if s := size(a, m) + size(m, b); s < best {
				best, where = s, m
			}
		}
		if where > 0 {
			cut(a, where)
			cuts = append(cuts, where)
			cut(where, b)
		}
	}
	cut(0, len(sums)-1)
	var parts [][]word
	from := 0
	for _, m := range append(cuts, len(sums)-1) {
		to := min(m*step, len(words))
		parts, from = append(parts, words[from:to]), to
	}
	return parts
}
