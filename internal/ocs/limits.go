package ocs

import (
	"mitigation.dev/ems/internal/ocs/xmltree"
	"mitigation.dev/ems/internal/rewrite"
)

// Limits of the document format. Lengths count characters unless they say bytes.
const (
	// MaxDocumentBytes is the largest document as published, its signature included.
	MaxDocumentBytes = 1 << 20
	// MaxCanonicalBytes is the largest canonical form. Canonicalization escapes and
	// expands; the format allows it twice the document.
	MaxCanonicalBytes = 2 * MaxDocumentBytes
	// MaxDepth is the deepest nesting of elements; a rule's condition has depth 10.
	MaxDepth = 16
	// MaxElements is the largest number of elements of a document.
	MaxElements = 20_000
	// MaxAttributes is the largest number of attributes of one element.
	MaxAttributes = 64

	// MaxConfigs is the largest number of Configs of a document.
	MaxConfigs = 256
	// MaxActions is the largest number of Actions of a Config.
	MaxActions = 32
	// MaxRules is the largest number of rules of an Action, over all sections.
	MaxRules = 64
	// MaxSamples is the largest number of Samples of a Config.
	MaxSamples = 64

	// MaxPublisherLength bounds the publisher.
	MaxPublisherLength = 256
	// MaxIDLength bounds the ids of Configs, and of Actions too; it is also what a
	// Kubernetes label holds.
	MaxIDLength = 63
	// MaxDescriptionLength bounds the description of a Config.
	MaxDescriptionLength = 1024
	// MaxActionDescriptionLength bounds the description of an Action.
	MaxActionDescriptionLength = 256
	// MaxPatternLength bounds a pattern of a rule.
	MaxPatternLength = rewrite.MaxPatternLength
	// MaxSampleURLLength bounds the URL of a Sample. It is IIS's default maxUrl.
	MaxSampleURLLength = 4096
)

// Limits for what the format leaves open. They keep every list and text that ends up in
// a Kubernetes object bounded, and are far above what was ever published.
const (
	// MaxReferences bounds the ids in cve and in supersedes: two per supported build of
	// a large product.
	MaxReferences = 64
	// MaxProducts bounds the Products of a Config; the format knows four names.
	MaxProducts = 16
	// MaxRoleLength bounds the role of a Product.
	MaxRoleLength = 64
	// MaxBranches bounds the Branches of a Product; Exchange 2016 to SE has some forty.
	MaxBranches = 64
	// MaxSideEffects bounds the SideEffects of a Config; the longest real list has six.
	MaxSideEffects = 32
	// MaxSideEffectLength bounds one SideEffect.
	MaxSideEffectLength = 1024
	// MaxTargetLength bounds the target of an Action. Windows bounds service names by
	// 256 and paths by 260.
	MaxTargetLength = 256
	// MaxNameLength bounds the name of a rule, precondition, map or server variable.
	MaxNameLength = 256
	// MaxMethodLength bounds the method of a Sample.
	MaxMethodLength = 32
	// MaxHostLength bounds the host of a Sample, as DNS bounds its names.
	MaxHostLength = 255
	// MaxHeaders bounds the Headers of a Sample.
	MaxHeaders = 32
	// MaxHeaderNameLength bounds the name of a Header.
	MaxHeaderNameLength = 256
	// MaxHeaderValueLength bounds the value of a Header, in bytes. HTTP.sys takes
	// requests of 16 KiB in all by default.
	MaxHeaderValueLength = 4096
)

var treeLimits = xmltree.Limits{
	Bytes: MaxCanonicalBytes, Depth: MaxDepth, Elements: MaxElements, Attributes: MaxAttributes,
}
