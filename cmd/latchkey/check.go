package main

import (
	"context"

	"latchkey/internal/config"
)

func runCheck(ctx context.Context, w world, g given, _ []string) int {
	s, err := load(w, g)
	if err != nil {
		return s.finish(ctx, err)
	}
	_, err = s.build(config.ModeOnce, true)
	return s.finish(ctx, err)
}
