package feed

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/trust"
)

// measured are the metrics of all feeds. A registry takes a metric once, and a process may run several managers in turn.
var measured = newMeasures(metrics.Registry)

// measures are the metrics of feeds. Their labels take few values: names of feeds, kinds and short fingerprints of
// certificates in use, reasons of conditions.
type measures struct {
	anchorExpiry   *prometheus.GaugeVec
	lastSuccess    *prometheus.GaugeVec
	verifyFailures *prometheus.CounterVec
	trustFindings  *prometheus.GaugeVec
	pushConnected  *prometheus.GaugeVec
	listFailures   *prometheus.CounterVec

	mu sync.Mutex
	// exported are the anchors that have a value, by feed.
	exported map[string]map[anchorLabels]bool
}

type anchorLabels struct{ kind, anchor string }

func newMeasures(registry prometheus.Registerer) *measures {
	m := &measures{
		anchorExpiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ems_trust_anchor_expiry_timestamp_seconds",
			Help: "Unix time at which a certificate that trust in a feed rests on runs out. kind is root, issuer or timestampRoot, anchor the beginning of its SHA-256 fingerprint.",
		}, []string{"feed", "kind", "anchor"}),
		lastSuccess: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ems_feed_last_success_timestamp_seconds",
			Help: "Unix time at which a feed was last read successfully.",
		}, []string{"feed"}),
		verifyFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ems_feed_verify_failures_total",
			Help: "Documents of a feed that were read and refused, by the reason of the feed's Ready condition.",
		}, []string{"feed", "reason"}),
		trustFindings: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ems_feed_trust_findings",
			Help: "Findings in the accepted document of a feed by a check that is only logged. check is a field of spec.trust.levels.",
		}, []string{"feed", "check"}),
		pushConnected: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ems_feed_push_connected",
			Help: "1 while the endpoint of a feed tells at once of new documents, 0 while it does not although it is asked to.",
		}, []string{"feed"}),
		listFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ems_feed_revocation_list_failures_total",
			Help: "Attempts to fetch the revocation lists of a feed of which at least one failed.",
		}, []string{"feed"}),
		exported: map[string]map[anchorLabels]bool{},
	}
	registry.MustRegister(m.anchorExpiry, m.lastSuccess, m.verifyFailures, m.trustFindings, m.pushConnected, m.listFailures)
	return m
}

// setAnchors makes the exported anchors of a feed those given. What stays has a value all the time.
func (m *measures) setAnchors(feed string, anchors []trust.Anchor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	current := map[anchorLabels]bool{}
	for _, a := range anchors {
		switch a.Kind {
		case trust.KindRoot, trust.KindTimestampRoot, trust.KindIssuer:
		default:
			continue // lists and signers come and go, and each would leave a series behind
		}
		labels := anchorLabels{string(a.Kind), conditions.ShortFingerprint(a)}
		current[labels] = true
		m.anchorExpiry.WithLabelValues(feed, labels.kind, labels.anchor).Set(float64(a.NotAfter.Unix()))
	}
	for labels := range m.exported[feed] {
		if !current[labels] {
			m.anchorExpiry.DeleteLabelValues(feed, labels.kind, labels.anchor)
		}
	}
	m.exported[feed] = current
}

// forget removes a feed that was deleted.
func (m *measures) forget(feed string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.exported, feed)
	of := prometheus.Labels{"feed": feed}
	m.anchorExpiry.DeletePartialMatch(of)
	m.lastSuccess.DeletePartialMatch(of)
	m.verifyFailures.DeletePartialMatch(of)
	m.trustFindings.DeletePartialMatch(of)
	m.pushConnected.DeletePartialMatch(of)
	m.listFailures.DeletePartialMatch(of)
}

// setPush exports how a feed stands with push. A feed that is not watched has no value.
func (m *measures) setPush(feed string, state emsv1.PushState) {
	switch state {
	case emsv1.PushConnected:
		m.pushConnected.WithLabelValues(feed).Set(1)
	case emsv1.PushNotOffered, emsv1.PushDisconnected:
		m.pushConnected.WithLabelValues(feed).Set(0)
	case emsv1.PushDisabled, "":
		m.pushConnected.DeleteLabelValues(feed)
	}
}

// countFailure counts a document that was refused. A feed that could not be read has not been verified.
func (m *measures) countFailure(feed, reason string) {
	switch reason {
	case emsv1.DocumentTooLargeReason, emsv1.DocumentMalformedReason, emsv1.SignatureInvalidReason, emsv1.SignerUntrustedReason,
		emsv1.TimestampInvalidReason, emsv1.DocumentRolledBackReason, emsv1.SequenceJumpReason, emsv1.DocumentNotYetValidReason,
		emsv1.DocumentExpiredReason, emsv1.DocumentUndatedReason:
		m.verifyFailures.WithLabelValues(feed, reason).Inc()
	}
}
