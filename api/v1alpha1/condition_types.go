package v1alpha1

// Conditions that every kind with a status carries. They follow kstatus: Ready is always present; Reconciling
// and Stalled are present only while they are True and never together.
const (
	// ReadyCondition is True when what the spec asks for is done and observed, False when it is not, and
	// Unknown before the first look. Positive polarity, always present.
	ReadyCondition = "Ready"

	// ReconcilingCondition is True while work is under way or will be tried again by itself.
	// Negative polarity, present only when True.
	ReconcilingCondition = "Reconciling"

	// StalledCondition is True when nothing will change until a person acts; its message says what to do.
	// Negative polarity, present only when True.
	StalledCondition = "Stalled"
)

// Reasons that several kinds share.
const (
	// ProgressingReason says that work is under way.
	ProgressingReason = "Progressing"

	// InvalidSpecReason says that the spec holds values that the schema accepts but that cannot be used; the
	// message names the field.
	InvalidSpecReason = "InvalidSpec"
)

// Conditions and reasons of trust anchors: of a MitigationFeed and of a PoolServer.
const (
	// TrustAnchorsCurrentCondition is False when a certificate or revocation list that trust rests on has run out or soon
	// will, and Unknown while the trust policy of a feed cannot be read. It warns before documents are refused, and changes
	// nothing by itself. Positive polarity.
	TrustAnchorsCurrentCondition = "TrustAnchorsCurrent"

	// AnchorsCurrentReason says that nothing runs out soon.
	AnchorsCurrentReason = "AnchorsCurrent"
	// AnchorExpiringReason says that a certificate runs out within 60 days, or a revocation list within one.
	AnchorExpiringReason = "AnchorExpiring"
	// AnchorExpiredReason says that a certificate or a revocation list has run out.
	AnchorExpiredReason = "AnchorExpired"
)

// Conditions and reasons of checks of the trust policy whose level is Log: of a MitigationFeed and of a PoolServer.
const (
	// TrustChecksPassedCondition is False when a document in use fails a check that trust.levels only logs: it would be
	// refused if the check were enforced. It changes nothing by itself. Positive polarity, present once a document was
	// verified.
	TrustChecksPassedCondition = "TrustChecksPassed"

	// ChecksPassedReason says that no document in use fails a check.
	ChecksPassedReason = "ChecksPassed"
	// IssuerNotPinnedReason says that the issuer of a signer is not among issuerPins.
	IssuerNotPinnedReason = "IssuerNotPinned"
	// SubjectDiffersReason says that a signer does not name what subject wants.
	SubjectDiffersReason = "SubjectDiffers"
	// ExtendedKeyUsageMissingReason says that a signer lacks one of extendedKeyUsages.
	ExtendedKeyUsageMissingReason = "ExtendedKeyUsageMissing"
	// RevocationFailedReason says that a certificate is revoked, or that a list that mode Require wants is missing.
	RevocationFailedReason = "RevocationFailed"
	// SeveralChecksFailedReason says that more than one of the checks failed; the message names them.
	SeveralChecksFailedReason = "SeveralChecksFailed"
)

// Reasons of TrustAnchorsCurrent of a PoolServer only.
const (
	// TrustFileUnusableReason says that the trust file on the server cannot be read, so that the server trusts nobody new.
	TrustFileUnusableReason = "TrustFileUnusable"
	// RevocationListRefusedReason says that the cluster handed the server a revocation list that it does not believe: an older
	// one than it has, or one that no trusted authority signed. The lists that it has stay.
	RevocationListRefusedReason = "RevocationListRefused"
)

// Conditions and reasons of a MitigationFeed.
const (
	// FreshCondition is True when the accepted document is within its expiry and the feed was read within
	// spec.maxAgeSeconds, False when not, and Unknown for documents that carry no dates. It never removes
	// protection. Positive polarity, present once a document has been accepted.
	FreshCondition = "Fresh"

	// DocumentAcceptedReason says that the newest document was fetched, verified and turned into Mitigations.
	DocumentAcceptedReason = "DocumentAccepted"
	// PartlyAcceptedReason says that the document was accepted but some of its Configs were refused;
	// status.refused lists them. Ready stays True, since everything that can protect does.
	PartlyAcceptedReason = "PartlyAccepted"
	// PollingDisabledReason says that spec.polling is Disabled; what was accepted stays.
	PollingDisabledReason = "PollingDisabled"

	// UnreachableReason says that no connection to the endpoint could be made.
	UnreachableReason = "Unreachable"
	// TLSFailedReason says that the endpoint's TLS certificate was not acceptable.
	TLSFailedReason = "TLSFailed"
	// TimedOutReason says that the endpoint was too slow in one of the limited phases.
	TimedOutReason = "TimedOut"
	// RedirectedReason says that the endpoint answered with a redirect that is not followed.
	RedirectedReason = "Redirected"
	// UnexpectedStatusReason says that the endpoint answered with another status than 200 or 304.
	UnexpectedStatusReason = "UnexpectedStatus"
	// UnexpectedEncodingReason says that the endpoint compressed its answer although that was declined.
	UnexpectedEncodingReason = "UnexpectedEncoding"
	// DocumentTooLargeReason says that the document exceeds 1 MiB.
	DocumentTooLargeReason = "DocumentTooLarge"
	// SourceMissingReason says that the ConfigMap that spec.configMapRef names, or its key, is not there.
	SourceMissingReason = "SourceMissing"

	// DocumentMalformedReason says that the document is not well-formed, breaks a limit, or is no EOCS document.
	DocumentMalformedReason = "DocumentMalformed"
	// SignatureInvalidReason says that the signature is missing, of a refused shape, or does not match.
	SignatureInvalidReason = "SignatureInvalid"
	// SignerUntrustedReason says that the signer's certificate does not satisfy spec.trust.
	SignerUntrustedReason = "SignerUntrusted"
	// TimestampInvalidReason says that the counter-signature is wrong.
	TimestampInvalidReason = "TimestampInvalid"
	// DocumentRolledBackReason says that the document is older than one accepted before.
	DocumentRolledBackReason = "DocumentRolledBack"
	// SequenceJumpReason says that the document's sequence is too far ahead of the accepted one.
	SequenceJumpReason = "SequenceJump"
	// DocumentNotYetValidReason says that the document claims to be issued in the future.
	DocumentNotYetValidReason = "DocumentNotYetValid"
	// DocumentExpiredReason says that the document's expiry has passed, so that it is not newly accepted.
	DocumentExpiredReason = "DocumentExpired"
	// DocumentUndatedReason says that the document carries neither sequence nor counter-signature and that
	// spec.trust.undatedDocuments does not accept such documents.
	DocumentUndatedReason = "DocumentUndated"

	// RevocationListsReadCondition is False when a revocation list of spec.trust.revocation.urls could not be fetched, or is not
	// used. The lists that are there stay in use. Positive polarity, present while there are such URLs and a mode other than Off.
	RevocationListsReadCondition = "RevocationListsRead"

	// ListsReadReason says that every list was fetched and is used, or is the one that is used already.
	ListsReadReason = "ListsRead"
	// ListUnreadableReason says that a list could not be fetched, or is none.
	ListUnreadableReason = "ListUnreadable"
	// ListRefusedReason says that a fetched list is older than the one in use, or that no authority of the feed has signed it.
	ListRefusedReason = "ListRefused"

	// WithinLimitsReason says that document and feed are recent enough.
	WithinLimitsReason = "WithinLimits"
	// FeedStaleReason says that the feed has not been read successfully for longer than spec.maxAgeSeconds.
	FeedStaleReason = "FeedStale"
	// NoDatesReason says that the document carries no dates to judge by.
	NoDatesReason = "NoDates"
)

// Reasons for which a feed refuses one Config of a document alone, besides those that package ocs documents.
const (
	// IDTakenReason says that another feed already provides a mitigation of this id.
	IDTakenReason = "IDTaken"
	// NotRepresentableReason says that the API server does not take the Config as a Mitigation; the message says why.
	NotRepresentableReason = "NotRepresentable"
)

// Reasons of the Ready condition of a Mitigation.
const (
	// AppliedReason says that every server that should have the mitigation has it.
	AppliedReason = "Applied"
	// NotWantedReason says that policy wants the mitigation nowhere and no server has it.
	NotWantedReason = "NotWanted"
	// NoPoolsReason says that no pool exists that the mitigation could go to.
	NoPoolsReason = "NoPools"
	// RollingOutReason says that servers are still on their way to what the plan wants.
	RollingOutReason = "RollingOut"
	// ServersFailedReason says that servers cannot do what the plan wants; they say why.
	ServersFailedReason = "ServersFailed"
	// ServersIneffectiveReason says that servers have the mitigation in place, but that their IIS does not run all of it.
	ServersIneffectiveReason = "ServersIneffective"
)

// Reasons of the Ready condition of a PoolMitigationConfig, besides RollingOut, ServersFailed and ServersIneffective.
const (
	// InSyncReason says that every server of the pool is as the plan wants it.
	InSyncReason = "InSync"
	// AgentsSilentReason says that servers have not shown for a while that they are alive.
	AgentsSilentReason = "AgentsSilent"
	// NoServersReason says that the pool has no servers yet. Ready is True: there is nothing left to do.
	NoServersReason = "NoServers"
	// PlanPendingReason says that the plan does not yet reflect the newest policy.
	PlanPendingReason = "PlanPending"
	// TakingOverReason says that the pool was given to another manager, to which its servers are being handed over. Nothing
	// new is rolled out until all of them are there; removals go on.
	TakingOverReason = "TakingOver"
	// NoManagerReason says that the label of the pool names a shard that no manager works for. The main manager writes it.
	NoManagerReason = "NoManager"
)

// Reasons of a rollout, and of the Ready condition of a PoolMitigationConfig and of a Mitigation while one of them counts.
const (
	// RolloutHaltedReason says that too many servers failed. A person has to act, or another revision to come.
	RolloutHaltedReason = "RolloutHalted"
	// RolloutAbortedReason says that a person took the revision back.
	RolloutAbortedReason = "RolloutAborted"
	// RolloutPausedReason says that a person holds the rollout.
	RolloutPausedReason = "RolloutPaused"
	// RolloutStuckReason says that servers are silent or have no data to judge by, beyond the progress deadline.
	RolloutStuckReason = "RolloutStuck"
	// AwaitingApprovalReason says that a person has to agree.
	AwaitingApprovalReason = "AwaitingApproval"
	// AwaitingRingReason says that the pools of a ring before have to complete first.
	AwaitingRingReason = "AwaitingRing"
	// AwaitingWindowReason says that windows allow no change now.
	AwaitingWindowReason = "AwaitingWindow"
	// AwaitingStageReason says that the servers of the stage are at work or under observation.
	AwaitingStageReason = "AwaitingStage"
	// HaltedElsewhereReason says that the rollout halted in another pool of the same ring or one before.
	HaltedElsewhereReason = "HaltedElsewhere"
	// RolloutCompleteReason says that every stage passed.
	RolloutCompleteReason = "RolloutComplete"
)

// Reasons of the Ready condition of a MitigationConfiguration, besides PlanPending.
const (
	// InEffectReason says that the plan of every pool in scope reflects this configuration.
	InEffectReason = "InEffect"
)

// Condition and reasons of the clock of a PoolServer.
const (
	// ClockInSyncCondition is False when the server's clock differs from that of the API server by more than five seconds: ends of
	// documents, certificates and exceptions come early or late there. It changes nothing by itself. Positive polarity.
	ClockInSyncCondition = "ClockInSync"

	// ClockAgreesReason says that the clocks agree.
	ClockAgreesReason = "ClockAgrees"
	// ClockSkewedReason says that they do not.
	ClockSkewedReason = "ClockSkewed"
)

// Reasons of the Ready condition of a PoolServer.
const (
	// AgentSilentReason says that the agent has not renewed its Lease for four periods. Ready is Unknown: what is applied stays
	// applied, and nobody can say more. The manager alone writes it, and the agent's next report takes it back.
	AgentSilentReason = "AgentSilent"
	// KillSwitchReason says that a person keeps every mitigation off the server, at the server.
	KillSwitchReason = "KillSwitch"
	// PlanAppliedReason says that the server is as the plan wants it.
	PlanAppliedReason = "PlanApplied"
	// PlanMissingReason says that the server's pool has no plan; what is applied stays.
	PlanMissingReason = "PlanMissing"
	// MitigationsFailedReason says that at least one mitigation could not be applied or removed.
	MitigationsFailedReason = "MitigationsFailed"
	// MitigationsIneffectiveReason says that at least one mitigation is in place, but that IIS does not run all of it.
	MitigationsIneffectiveReason = "MitigationsIneffective"
)

// Labels and annotations.
const (
	// FeedLabel on a MitigationBundle and a Mitigation names the feed.
	FeedLabel = "ems.mitigation.dev/feed"
	// ShardLabel on a PoolMitigationConfig says which manager works for the pool: the one with this --shard. Without it, or where it is
	// empty, the main one does. Managers keep the label of the pool's MitigationPlan and PoolServers the same; there it is for nobody
	// else to write.
	ShardLabel = "ems.mitigation.dev/shard"
	// ReconcileRequestAnnotation on a MitigationFeed asks for a poll now: any new value counts once.
	ReconcileRequestAnnotation = "reconcile.ems.mitigation.dev/requestedAt"
	// RepairRequestAnnotation on a PoolMitigationConfig makes its servers look at everything anew: any new value counts once.
	RepairRequestAnnotation = "ems.mitigation.dev/repair-requested-at"
	// AcceptSequenceJumpAnnotation on a MitigationFeed allows one document whose sequence is too far ahead: its value is that
	// very sequence, or the digest of the document. Agents do not look at it; their trust file says acceptSequence.
	AcceptSequenceJumpAnnotation = "ems.mitigation.dev/accept-sequence-jump"
)
