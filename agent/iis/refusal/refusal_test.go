package refusal

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestReasonIsFoundThroughWrapping(t *testing.T) {
	tests := map[string]struct {
		err              error
		wantReason, want string
	}{
		"a refusal":                 {New(SiteNotFound, "site %q: not there", "A"), SiteNotFound, `site "A": not there`},
		"a refusal inside an error": {fmt.Errorf("outer: %w", New(SiteNotFound, "x")), SiteNotFound, "outer: x"},
		"a refusal with a cause":    {Wrap(ConfigurationBusy, io.EOF, "file"), ConfigurationBusy, "file: EOF"},
		"the outer of two refusals": {Wrap(PoolStopFailed, New(PoolNotFound, "x"), "pool"), PoolStopFailed, "pool: x"},
		"another error":             {io.EOF, "fallback", "EOF"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Of(tc.err, "fallback"); got != tc.wantReason {
				t.Errorf("reason %q, want %q", got, tc.wantReason)
			}
			if tc.err.Error() != tc.want {
				t.Errorf("text %q, want %q", tc.err, tc.want)
			}
		})
	}
	if !errors.Is(Wrap(ConfigurationBusy, io.EOF, "file"), io.EOF) {
		t.Error("the cause is lost")
	}
}
