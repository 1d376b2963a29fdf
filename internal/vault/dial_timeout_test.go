package vault

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// A resolver that does not answer is given up after the limit of a connection, and the
// message named that of a request, which is twenty times as long.
func TestANameThatIsNotLookedUpInTimeIsNoRequestThatWasNotAnswered(t *testing.T) {
	c, err := New(Config{
		Address: "http://vault.example:8200", Timeout: time.Minute, DialTimeout: 3 * time.Second,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Name: "vault.example", IsTimeout: true, Err: os.ErrDeadlineExceeded.Error(), UnwrapErr: context.DeadlineExceeded}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Read(t.Context(), "secret/data/app", nil)
	if err == nil || strings.Contains(err.Error(), "1m0s") || StageOf(err) != StageDNS {
		t.Errorf("%v at %q", err, StageOf(err))
	}
}

// Two things failed at once, and the second one's stage was told of the first.
func TestTheStageOfAJoinedErrorIsThatOfItsFirst(t *testing.T) {
	first := &Error{Kind: ErrUnreachable, Op: "read", Cause: context.DeadlineExceeded}
	second := &Error{Kind: ErrUnreachable, Op: "read", Cause: &net.OpError{Op: "dial", Err: context.DeadlineExceeded}}
	if s := StageOf(errors.Join(first, second)); s != StageHTTP {
		t.Error(s)
	}
	if s := StageOf(errors.Join(second, first)); s != StageTCP {
		t.Error(s)
	}
}
