package rewrite

import "math/bits"

// OpenPoint names a question that Microsoft's documents leave open. The table of
// docs/reference/rewrite-semantics.md has the answer that is taken for each, why, and the
// other one.
type OpenPoint string

// The open points. For all but the last group a request that raises the question is
// evaluated with the other answer too, and the point counts only if the result changes.
const (
	// RequestURIEncoding: the path in {REQUEST_URI} is decoded.
	RequestURIEncoding OpenPoint = "RequestURIEncoding"
	// RequestURIAfterRewrite: {REQUEST_URI} follows a rewrite.
	RequestURIAfterRewrite OpenPoint = "RequestURIAfterRewrite"
	// PlusInURLDecode: {UrlDecode:} turns "+" into a blank.
	PlusInURLDecode OpenPoint = "PlusInURLDecode"
	// DoubleDecoding: {UrlDecode:} accepts text that is still encoded afterwards.
	DoubleDecoding OpenPoint = "DoubleDecoding"
	// DecodedNotUTF8: what {UrlDecode:} makes of bytes that are not UTF-8.
	DecodedNotUTF8 OpenPoint = "DecodedNotUTF8"
	// BlankAfterColon: a blank after the colon of a function belongs to its argument.
	BlankAfterColon OpenPoint = "BlankAfterColon"
	// URLEncodeSet: {UrlEncode:} keeps the unreserved characters only.
	URLEncodeSet OpenPoint = "URLEncodeSet"
	// NegatedConditionCaptures: a negated condition leaves {C:n} as it was.
	NegatedConditionCaptures OpenPoint = "NegatedConditionCaptures"
	// NegatedMatchCaptures: after a negated match, {R:0} is empty.
	NegatedMatchCaptures OpenPoint = "NegatedMatchCaptures"
	// ReferenceOutOfRange: a back reference to a group that does not exist is empty.
	ReferenceOutOfRange OpenPoint = "ReferenceOutOfRange"
	// MatchAnyCaptures: MatchAny stops at the first condition that holds.
	MatchAnyCaptures OpenPoint = "MatchAnyCaptures"
	// MissingMatch: a rule without match or url takes every URL.
	MissingMatch OpenPoint = "MissingMatch"
	// RepeatedHeader: headers of the same name are joined.
	RepeatedHeader OpenPoint = "RepeatedHeader"
	// StopInGlobalRules: stopProcessing in globalRules does not end the rules of the site.
	StopInGlobalRules OpenPoint = "StopInGlobalRules"
	// AbsoluteRewrite: rules go on after a rewrite to another server.
	AbsoluteRewrite OpenPoint = "AbsoluteRewrite"
	// EncodedRewrite: a rewritten path is not decoded.
	EncodedRewrite OpenPoint = "EncodedRewrite"
	// LineAnchors: "^" and "$" stand for the ends of the text, not for those of each line.
	LineAnchors OpenPoint = "LineAnchors"
	// UnknownPattern: a pattern that cannot be evaluated here does not match.
	UnknownPattern OpenPoint = "UnknownPattern"
	// UnknownVariable: a server variable whose value is not known here is empty.
	UnknownVariable OpenPoint = "UnknownVariable"
	// FileExistence: without a file system, no file exists.
	FileExistence OpenPoint = "FileExistence"
	// DirectoryExistence: without a file system, no directory exists.
	DirectoryExistence OpenPoint = "DirectoryExistence"

	// OutsideLevel: a rule of a folder meets a URL that an earlier rule moved out of it.
	OutsideLevel OpenPoint = "OutsideLevel"
	// RewrittenIntoLevel: a rule of a site rewrites into a folder that has rules itself.
	RewrittenIntoLevel OpenPoint = "RewrittenIntoLevel"
	// OriginalURLEncoding: a rule rewrites under useOriginalURLEncoding="false".
	OriginalURLEncoding OpenPoint = "OriginalURLEncoding"
	// ContentAfterTags: one response meets outbound rules for tags and for the content.
	ContentAfterTags OpenPoint = "ContentAfterTags"
)

// openPoints gives the points their bits. The last ones, from firstNoted on, have no other
// answer that could be evaluated and count whenever they come up.
var openPoints = []OpenPoint{
	RequestURIEncoding, RequestURIAfterRewrite, PlusInURLDecode, DoubleDecoding, DecodedNotUTF8,
	BlankAfterColon, URLEncodeSet, NegatedConditionCaptures, NegatedMatchCaptures,
	ReferenceOutOfRange, MatchAnyCaptures, MissingMatch, RepeatedHeader, StopInGlobalRules,
	AbsoluteRewrite, EncodedRewrite, LineAnchors, UnknownPattern, UnknownVariable, FileExistence,
	DirectoryExistence,
	OutsideLevel, RewrittenIntoLevel, OriginalURLEncoding, ContentAfterTags,
}

// OpenPoints returns all open points in a fixed order.
func OpenPoints() []OpenPoint { return append([]OpenPoint(nil), openPoints...) }

// reading is a set of open points for which the other answer is taken, or a set of points
// that came up.
type reading uint32

const (
	requestURIEncoding reading = 1 << iota
	requestURIAfterRewrite
	plusInURLDecode
	doubleDecoding
	decodedNotUTF8
	blankAfterColon
	urlEncodeSet
	negatedConditionCaptures
	negatedMatchCaptures
	referenceOutOfRange
	matchAnyCaptures
	missingMatch
	repeatedHeader
	stopInGlobalRules
	absoluteRewrite
	encodedRewrite
	lineAnchors
	unknownPattern
	unknownVariable
	fileExistence
	directoryExistence
	outsideLevel
	rewrittenIntoLevel
	originalURLEncoding
	contentAfterTags
	firstNoted = outsideLevel
)

// maxAlternatives is how many open points one request may raise and still get an answer
// for every combination: 2^5 evaluations. With more, all of them count.
const maxAlternatives = 5

// points lists the members of a set.
func (r reading) points() []OpenPoint {
	if r == 0 {
		return nil
	}
	points := make([]OpenPoint, 0, bits.OnesCount32(uint32(r)))
	for i, p := range openPoints {
		if r&(1<<i) != 0 {
			points = append(points, p)
		}
	}
	return points
}
