package persist

import "log/slog"

// trouble is something that went wrong and may go on going wrong: its beginning
// and its end are told, and not what is between.
type trouble struct{ times int }

func (t *trouble) note(log *slog.Logger, err error, bad, good string) {
	switch {
	case err != nil && t.times == 0:
		log.Warn(bad, "error", err)
	case err == nil && t.times > 0:
		log.Info(good, "failures", t.times)
	}
	if t.times++; err == nil {
		t.times = 0
	}
}
