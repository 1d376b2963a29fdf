package extension

import (
	"context"
)

// Start is Run in Lambda. Elsewhere, where nobody says where the platform is, somebody
// tries settings: then it is Rehearse.
func Start(ctx context.Context, j Job) error {
	if j.API == "" {
		return Rehearse(ctx, j)
	}
	return Run(ctx, j)
}

// Rehearse does once, outside of Lambda, what a start does: it opens the listeners,
// logs in, writes the files, gets the variables, says what is in place or what is
// not, and lets go of everything. Nobody is told but the log. What a snapshot would
// put off is done, too.
//
// The error is that of a start.
func Rehearse(ctx context.Context, j Job) error {
	j.Deferred = false
	e := begin(ctx, j)
	defer e.goodbye()
	budget, cancel := e.budget()
	defer cancel()
	err := e.porch(budget)
	if err == nil {
		err = e.warmUp(budget)
	}
	if err != nil {
		kind, message := describe(err)
		e.Log.Error("the function could not start (this is not Lambda: AWS_LAMBDA_RUNTIME_API is not set)", "stage", kind, "error", message)
		return err
	}
	e.Log.Info("the function could start; this is not Lambda, where AWS_LAMBDA_RUNTIME_API is set, so this is the end")
	return nil
}
