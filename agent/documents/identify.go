package documents

import (
	"encoding/hex"
	"slices"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/internal/xmlsig"
)

// Identify gives the digest of a document that no plan names, such as a file that was carried to this server. It verifies
// the document for that, under the trust policy of the feed, and accepts nothing: that is for Load.
func (s *Store) Identify(feedName string, original []byte) (digest string, failure *enforce.Failure) {
	file, err := s.readTrustFile()
	if err != nil {
		return "", badTrustFile(err)
	}
	signer, feed, failure := s.rules(feedName, file)
	if failure != nil {
		return "", failure
	}
	signed, err := xmlsig.Verify(original, signer, s.Clock.Now())
	if err == nil {
		return hex.EncodeToString(signed.Digest[:]), nil
	}
	if isTrust(err) {
		// What was accepted once stays good, as in verify.
		for _, accepted := range slices.Backward(feed.Accepted) {
			earlier, earlierErr := verifyAccepted(original, signer, accepted.At)
			if earlierErr == nil && hex.EncodeToString(earlier.Digest[:]) == accepted.Digest {
				return accepted.Digest, nil
			}
		}
	}
	return "", untrusted("the document is not trusted on this server: %v", err)
}
