package session

import "time"

// alarm is what has been told of a token's end.
type alarm int

const (
	silent alarm = iota
	near
	over
)

// ending returns what is to be told loudly of the token's end, "" for nothing.
// Each thing is told once, and only where something failed: without that, a token
// comes near its end because that is how it was planned.
func (s *state) ending(now time.Time) string {
	lease := s.token.Lease
	if s.token.Value.Empty() || s.invalid || s.err == nil || lease.Duration <= 0 || s.doubtful(now) {
		return ""
	}
	end := lease.Expires()
	late := end.Add(-max(lease.Duration/10, min(time.Minute, lease.Duration/3)))
	switch {
	case s.told < over && !now.Before(end):
		s.told = over
		return "the token is over, and there is no other yet"
	case s.told < near && !now.Before(late):
		s.told = near
		return "token about to expire"
	}
	return ""
}
