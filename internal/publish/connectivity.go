package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mitigation.dev/ems/internal/fetch"
)

// The two lines that the real service's own test prints, word for word: scripts look for them.
const (
	connectivitySuccess = "Result: Success.\nMessage: The Mitigation Service endpoint is accessible from this computer.\n"
	connectivityFailure = "Result: Failed.\nMessage: Unable to connect to the Mitigation Service endpoint from this computer.\n"
)

// nearExpiry is how long before something runs out the test speaks of it. It is the time for which anchors are warned of in
// docs/spec as well: a certificate takes weeks to be replaced everywhere.
const nearExpiry = 60 * 24 * time.Hour

// pushProbe is how long the endpoint is asked to hold a request. Whether it does is known from the answer at once.
const pushProbe = time.Second

// Connectivity is the result of TestConnectivity.
type Connectivity struct {
	// Success means that a manager with the same settings would accept the document now.
	Success bool `json:"success"`
	// Reached means that the endpoint answered with a document, acceptable or not.
	Reached bool `json:"reached"`
	// FinalURL is the address that answered, Took how long it took.
	FinalURL string        `json:"finalURL,omitempty"`
	Took     time.Duration `json:"tookNanoseconds,omitempty"`
	// ETag says whether the endpoint can tell that nothing has changed.
	ETag string `json:"etag,omitempty"`
	// Push says whether the endpoint holds a request until there is another document; empty if that was not tried.
	Push Push `json:"push,omitempty"`
	// Cause says what failed, Next what to do about it.
	Cause string   `json:"cause,omitempty"`
	Next  []string `json:"next,omitempty"`
	// Report is the judgement on the document, if one came.
	Report *Report `json:"report,omitempty"`
}

// Push is what became of a request that asked to be held.
type Push string

// What becomes of such a request.
const (
	// PushOffered means that managers learn of a new document within a second.
	PushOffered Push = "Offered"
	// PushNotOffered means that managers learn of it with their next poll.
	PushNotOffered Push = "NotOffered"
	// PushFailed means that the request broke although the one before was answered.
	PushFailed Push = "Failed"
)

// TestConnectivity goes the way of the feed controller: the same fetch with the same limits, the same verification, the
// same parser and the same look at the dates. The real service's test does less, and says Success while the service
// fails; here Success means that the document would be accepted.
func TestConnectivity(ctx context.Context, request fetch.Request, policy Policy, now time.Time) Connectivity {
	response, err := fetch.Get(ctx, request)
	if err != nil {
		result := Connectivity{Cause: err.Error()}
		if failure, ok := errors.AsType[*fetch.Error](err); ok && failure.Next != "" {
			// The advice stands by itself and need not be said twice.
			cause := *failure
			cause.Next = ""
			result.Cause, result.Next = cause.Error(), []string{failure.Next}
		}
		return result
	}
	result := Connectivity{Reached: true, FinalURL: response.FinalURL, Took: response.Took, ETag: response.ETag}
	report := Judge(response.Body, policy, now)
	result.Report, result.Success = &report, report.Valid
	if !report.Valid {
		result.Cause = report.Reason
		result.Next = append(result.Next, nextForRefusal(report, response.Body))
		return result
	}
	result.tryPush(ctx, request)
	for i, c := range report.Chain {
		if left := c.NotAfter.Sub(now); left < nearExpiry && i == 0 && report.SignedAt == nil {
			result.Next = append(result.Next, fmt.Sprintf("the signing certificate expires on %s: the publisher has to sign with another one by then", stamp(c.NotAfter)))
		} else if left < nearExpiry && i > 0 {
			result.Next = append(result.Next, fmt.Sprintf("the authority %q expires on %s: ask the publisher for its successor", c.Subject, stamp(c.NotAfter)))
		}
	}
	for _, refused := range report.Refused {
		result.Next = append(result.Next, fmt.Sprintf("entry %q is left out by servers; tell the publisher: %s", refused.ID, refused.Message))
	}
	return result
}

// tryPush asks the endpoint to hold a request, as the watcher of the feed controller does first.
func (c *Connectivity) tryPush(ctx context.Context, request fetch.Request) {
	if c.ETag == "" {
		c.Next = append(c.Next, "the endpoint sends no ETag, so every look fetches the whole document, and push is not possible; nothing is wrong")
		return
	}
	request.ETag, request.Wait = c.ETag, pushProbe
	response, err := fetch.Get(ctx, request)
	switch {
	case err != nil:
		c.Push = PushFailed
		c.Next = append(c.Next, fmt.Sprintf("a request to be held until there is another document broke, so that push would not work: %v", err))
	case response.Waits:
		c.Push = PushOffered
	default:
		c.Push = PushNotOffered
	}
}

// nextForRefusal says what to do about a document that came and is refused.
func nextForRefusal(r Report, body []byte) string {
	switch {
	case !looksLikeDocument(body):
		return "what answered is not the publisher: check the URL, and whether a proxy or portal puts a page of its own in between"
	case r.Digest == "":
		return "compare the trust policy with what the publisher states, and ask the publisher before you trust another signer; a device that changes content on the way breaks the signature as well"
	case r.Class == ClassContent:
		return "the signer is right and the content cannot be read: tell the publisher, or update this software"
	default:
		return "the signer is right and the document's age is not: a cache or mirror may serve an old one, the publisher may be late, or the clock of this computer is wrong"
	}
}

// looksLikeDocument tells a document from a web page without reading it.
func looksLikeDocument(body []byte) bool {
	return strings.Contains(string(body[:min(len(body), 1024)]), "<EOCS")
}

// Text returns the result for people. The first two lines are those of the real service.
func (c Connectivity) Text() string {
	var b strings.Builder
	if c.Success {
		b.WriteString(connectivitySuccess)
	} else {
		b.WriteString(connectivityFailure)
	}
	b.WriteString("\n")
	if c.Reached {
		fmt.Fprintf(&b, "Answered by %s in %s.\n", printable(c.FinalURL), c.Took.Round(time.Millisecond))
		if !c.Success {
			b.WriteString("The endpoint can be reached. What it sent is refused, so nothing would be applied.\n")
		}
		switch c.Push {
		case PushOffered:
			b.WriteString("Push is offered: managers learn of a new document at once.\n")
		case PushNotOffered:
			b.WriteString("Push is not offered: managers learn of a new document with their next poll.\n")
		case PushFailed:
			b.WriteString("Push does not work on this way: managers learn of a new document with their next poll.\n")
		}
	} else {
		b.WriteString("No document was received.\n")
	}
	if c.Cause != "" {
		fmt.Fprintf(&b, "Cause: %s\n", printable(c.Cause))
	}
	for _, next := range c.Next {
		fmt.Fprintf(&b, "Next: %s\n", printable(next))
	}
	if c.Report != nil {
		b.WriteString("\nDocument: " + c.Report.Text())
	}
	return b.String()
}
