package main

import (
	"cmp"
	"slices"
)

// block is a part of a text in words, with the codes for them.
type block struct {
	words          []word
	count          count
	literal, dist  []uint8 // lengths of the codes
	header         []token
	lengths        []uint8 // of the codes of the header
	hlit, hdist, n int
	size           int // in bits
}

// token is a symbol of a header, and what follows it.
type token struct {
	symbol, extra uint8
	bits          uint8
}

func newBlock(words []word) block {
	b := block{words: words}
	b.count.add(words)
	b.count.literal[endOfBlock] = 1
	b.literal, b.dist = codeLengths(b.count.literal[:], 15), codeLengths(b.count.dist[:], 15)
	for b.hlit = literals; b.hlit > 257 && b.literal[b.hlit-1] == 0; b.hlit-- {
	}
	for b.hdist = distances; b.hdist > 1 && b.dist[b.hdist-1] == 0; b.hdist-- {
	}
	b.header = runs(append(slices.Clone(b.literal[:b.hlit]), b.dist[:b.hdist]...))
	counts := make([]int, 19)
	for _, t := range b.header {
		counts[t.symbol]++
	}
	b.lengths = codeLengths(counts, 7)
	for b.n = 19; b.n > 4 && b.lengths[order[b.n-1]] == 0; b.n-- {
	}
	b.size = 3 + 14 + 3*b.n
	for _, t := range b.header {
		b.size += int(b.lengths[t.symbol]) + int(t.bits)
	}
	for i, n := range b.count.literal {
		b.size += n * int(b.literal[i])
	}
	for i, n := range b.count.dist {
		b.size += n * (int(b.dist[i]) + int(distExtra[i]))
	}
	for _, w := range words {
		if w.dist > 0 {
			b.size += int(lengthExtra[w.length])
		}
	}
	return b
}

// order is that of the lengths of a header's codes.
var order = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// runs tells lengths of codes, those that repeat shortly.
func runs(lengths []uint8) []token {
	var out []token
	for i := 0; i < len(lengths); {
		n := 1
		for i+n < len(lengths) && lengths[i+n] == lengths[i] {
			n++
		}
		l := lengths[i]
		i += n
		if l != 0 {
			out = append(out, token{symbol: l})
			n--
		}
		for n > 0 {
			switch {
			case l == 0 && n >= 11:
				r := min(n, 138)
				out, n = append(out, token{18, uint8(r - 11), 7}), n-r
			case l == 0 && n >= 3:
				out, n = append(out, token{17, uint8(n - 3), 3}), 0
			case l != 0 && n >= 3:
				r := min(n, 6)
				if n-r == 1 || n-r == 2 {
					r = max(3, n-3) // so that the rest is a run too
				}
				out, n = append(out, token{16, uint8(r - 3), 2}), n-r
			default:
				out, n = append(out, token{symbol: l}), n-1
			}
		}
	}
	return out
}

// codeLengths are the lengths of the shortest code for these counts in which no word
// is longer than limit: the algorithm of Larmore and Hirschberg, which buys for each
// symbol coins of 2^-1 to 2^-limit, packing two of one kind into one of the next.
func codeLengths(counts []int, limit int) []uint8 {
	lengths := make([]uint8, len(counts))
	type item struct {
		weight  int
		symbols []uint16
	}
	var coins []item
	for i, n := range counts {
		if n > 0 {
			coins = append(coins, item{n, []uint16{uint16(i)}})
		}
	}
	switch len(coins) {
	case 0:
		return lengths
	case 1:
		lengths[coins[0].symbols[0]] = 1
		return lengths
	}
	byWeight := func(a, b item) int { return cmp.Compare(a.weight, b.weight) }
	slices.SortStableFunc(coins, byWeight)
	var packed []item
	for range limit {
		all := append(slices.Clone(coins), packed...)
		slices.SortStableFunc(all, byWeight)
		packed = packed[:0:0]
		for i := 0; i+1 < len(all); i += 2 {
			packed = append(packed, item{all[i].weight + all[i+1].weight, slices.Concat(all[i].symbols, all[i+1].symbols)})
		}
	}
	for _, p := range packed[:len(coins)-1] {
		for _, s := range p.symbols {
			lengths[s]++
		}
	}
	return lengths
}

// codes are the canonical ones of these lengths, turned round as deflate has them.
func codes(lengths []uint8) []uint16 {
	var number [17]int
	for _, l := range lengths {
		number[l]++
	}
	number[0] = 0
	var next [17]uint16
	for l := 1; l < len(next); l++ {
		next[l] = (next[l-1] + uint16(number[l-1])) << 1
	}
	out := make([]uint16, len(lengths))
	for i, l := range lengths {
		if l == 0 {
			continue
		}
		code := next[l]
		next[l]++
		for range l {
			out[i] = out[i]<<1 | code&1
			code >>= 1
		}
	}
	return out
}

func (b block) write(w *bitWriter, last bool) {
	final := uint32(0)
	if last {
		final = 1
	}
	w.put(final|2<<1, 3)
	w.put(uint32(b.hlit-257)|uint32(b.hdist-1)<<5|uint32(b.n-4)<<10, 14)
	for _, s := range order[:b.n] {
		w.put(uint32(b.lengths[s]), 3)
	}
	head := codes(b.lengths)
	for _, t := range b.header {
		w.put(uint32(head[t.symbol]), b.lengths[t.symbol])
		w.put(uint32(t.extra), t.bits)
	}
	literal, dist := codes(b.literal), codes(b.dist)
	for _, x := range b.words {
		if x.dist == 0 {
			w.put(uint32(literal[x.length]), b.literal[x.length])
			continue
		}
		s := lengthSymbol[x.length]
		w.put(uint32(literal[s]), b.literal[s])
		w.put(uint32(x.length-lengthBase[x.length]), lengthExtra[x.length])
		d := distSymbol[x.dist]
		w.put(uint32(dist[d]), b.dist[d])
		w.put(uint32(int(x.dist)-distBase[d]), distExtra[d])
	}
	w.put(uint32(literal[endOfBlock]), b.literal[endOfBlock])
}

// bitWriter packs bits, the lowest first.
type bitWriter struct {
	out  []byte
	have uint64
	n    uint8
}

func (w *bitWriter) put(bits uint32, n uint8) {
	w.have |= uint64(bits) << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.have))
		w.have >>= 8
	}
}

// bytes ends it.
func (w *bitWriter) bytes() []byte {
	if w.n > 0 {
		w.put(0, 8-w.n)
	}
	return w.out
}
