package telemetry

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// Endpoint is where diagnostic data goes. There is none by default, and none of anybody's but the operator's.
type Endpoint struct {
	URL, CABundle, ProxyURL string
}

// Choose tells where diagnostic data goes, or why it goes nowhere. What the configuration named global says counts; where it says
// nothing, or is nil, the choice that was made when the manager was installed.
func Choose(global *emsv1.MitigationConfiguration, installed Endpoint) (to Endpoint, on bool, why string) {
	var said emsv1.TelemetrySpec
	if global != nil && global.Spec.Telemetry != nil {
		said = *global.Spec.Telemetry
	}
	switch {
	case said.Mode == emsv1.Disabled:
		return Endpoint{}, false, "spec.telemetry.mode is Disabled"
	case said.Mode == emsv1.Enabled && said.URL == "":
		return Endpoint{}, false, "spec.telemetry has no url"
	case said.Mode == "" && said.URL != "":
		// Somebody has begun to say something: what was installed no longer counts.
		return Endpoint{}, false, "spec.telemetry has no mode"
	case said.Mode == emsv1.Enabled:
		return Endpoint{URL: said.URL, CABundle: said.CABundle, ProxyURL: said.ProxyURL}, true, ""
	case installed.URL == "":
		return Endpoint{}, false, "nobody has switched it on"
	}
	return installed, true, ""
}

const (
	// Interval is how often diagnostic data is sent, as the real services do.
	Interval = time.Hour
	// FirstWait is the least time between switching it on and the first sending: time to look at the preview, and the wait of
	// the real service after its start.
	FirstWait = 10 * time.Minute
)

// retries are the waits after the first failures; after further ones the next hour counts.
var retries = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}

// First is when to send first after it was switched on.
func First(organization uuid.UUID, now time.Time) time.Time {
	return slot(organization, now.Add(FirstWait))
}

// Next is when to send again: in the organisation's moment of the next hour, or after so many failures in a row sooner.
func Next(organization uuid.UUID, now time.Time, failures int) time.Time {
	next := slot(organization, now)
	if failures > 0 && failures <= len(retries) {
		if retry := now.Add(retries[failures-1]); retry.Before(next) {
			return retry
		}
	}
	return next
}

// slot is the organisation's moment of the hour, later than the time given. Moments are spread over the hour by the organisation's
// id, so that an endpoint with many organisations, or clusters, is not met by all of them at once, and a restart changes nothing.
func slot(organization uuid.UUID, after time.Time) time.Time {
	sum := sha256.Sum256(organization[:])
	offset := time.Duration(binary.BigEndian.Uint64(sum[:8])%uint64(Interval/time.Second)) * time.Second
	at := after.UTC().Truncate(Interval).Add(offset)
	if !at.After(after) {
		at = at.Add(Interval)
	}
	return at
}

const (
	// OrganizationName is the ConfigMap, in the manager's namespace, that keeps the organisation's id.
	OrganizationName = "ems-organization"
	// OrganizationKey is its key.
	OrganizationKey = "id"
)

// ParseOrganization reads the organisation's id. The one of zeros is none.
func ParseOrganization(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || id == uuid.Nil || id.String() != text {
		return uuid.Nil, fmt.Errorf("%q: not a UUID such as 6ba7b810-9dad-41d1-80b4-00c04fd430c8", text)
	}
	return id, nil
}
