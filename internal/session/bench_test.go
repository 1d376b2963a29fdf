package session

import (
	"log/slog"
	"testing"
	"time"
)

// What an invocation pays when nothing is due, and what a request pays for a token.
func BenchmarkPulled(b *testing.B) {
	w := newWorld(time.Hour, 768*time.Hour)
	s := New(w, nil, Options{Retry: forever, Log: slog.New(slog.DiscardHandler)})
	s.extend = w.extend
	p := s.Pull(PullOptions{Grace: 10 * time.Second})
	if _, err := p.Token(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Run("due", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if p.Due().IsZero() {
				b.Fatal("never due")
			}
		}
	})
	b.Run("tend", func(b *testing.B) {
		b.ReportAllocs()
		by := time.Now().Add(time.Minute)
		for b.Loop() {
			if err := p.Tend(b.Context(), by); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("token", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := p.Token(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	if len(w.logins) != 1 {
		b.Errorf("%d logins", len(w.logins))
	}
}
