package timestamp

import (
	"errors"
	"fmt"
)

// Limits of the transcoder. Input and output are bounded by MaxTokenBytes; DER is never longer than the BER
// it came from but for lengths, which take at most four bytes more per value of indefinite length.
const (
	// MaxTokenBytes bounds a token, as docs/document-format.md (Signature, limits) says.
	MaxTokenBytes = 64 << 10
	// maxBERDepth bounds nesting. The real token is 16 deep, in the names of its attributes.
	maxBERDepth = 32
	// maxBERValues bounds the number of values. The shortest takes two bytes; a real token has about 600.
	maxBERValues = 8192
)

// errTruncated is the cause when a value is longer than what contains it.
var errTruncated = errors.New("value is longer than its container")

const (
	classMask       = 0xc0
	constructed     = 0x20
	tagMask         = 0x1f
	tagOctetString  = 0x04
	highestLowTag   = 0x1e
	indefiniteBytes = 0x80
)

// ToDER transcodes one BER value with definite or indefinite lengths to DER lengths, and OCTET STRINGs in
// pieces to whole ones. Contents of primitive values are not touched, elements of a SET are not sorted:
// signed parts stay what their signer made, and what was signed in another form than DER does not verify.
func ToDER(ber []byte) ([]byte, error) {
	if len(ber) > MaxTokenBytes {
		return nil, fmt.Errorf("token: %d bytes: at most %d", len(ber), MaxTokenBytes)
	}
	t := &transcoder{input: ber}
	der, rest, err := t.value(0, len(ber), 0)
	if err != nil {
		return nil, fmt.Errorf("token: byte %d: %w", t.at, err)
	}
	if rest != len(ber) {
		return nil, fmt.Errorf("token: byte %d: %d bytes behind the value", rest, len(ber)-rest)
	}
	return der, nil
}

type transcoder struct {
	input  []byte
	at     int // of the value in work, for messages
	values int
}

type berHeader struct {
	tag        byte
	length     int
	indefinite bool
	content    int // offset
}

func (t *transcoder) header(from, end int) (berHeader, error) {
	t.at = from
	if t.values++; t.values > maxBERValues {
		return berHeader{}, fmt.Errorf("more than %d values", maxBERValues)
	}
	if end-from < 2 {
		return berHeader{}, errTruncated
	}
	h := berHeader{tag: t.input[from], content: from + 2}
	if h.tag&tagMask > highestLowTag {
		return berHeader{}, errors.New("tag numbers above 30 are not used in tokens")
	}
	switch first := t.input[from+1]; {
	case first < indefiniteBytes:
		h.length = int(first)
	case first == indefiniteBytes:
		if h.tag&constructed == 0 {
			return berHeader{}, errors.New("indefinite length of a primitive value")
		}
		h.indefinite = true
		return h, nil
	default:
		count := int(first &^ indefiniteBytes)
		if count > 4 || count > end-h.content {
			return berHeader{}, errTruncated
		}
		for _, b := range t.input[h.content : h.content+count] {
			h.length = h.length<<8 | int(b)
		}
		h.content += count
	}
	if h.length < 0 || h.length > end-h.content {
		return berHeader{}, errTruncated
	}
	return h, nil
}

// value transcodes the value at from, which must end at or before end, and returns where it ended.
func (t *transcoder) value(from, end, depth int) (der []byte, next int, err error) {
	if depth > maxBERDepth {
		return nil, 0, fmt.Errorf("nested deeper than %d", maxBERDepth)
	}
	h, err := t.header(from, end)
	if err != nil {
		return nil, 0, err
	}
	if h.tag&constructed == 0 {
		if h.tag == 0 {
			return nil, 0, errors.New("end-of-contents where a value is wanted")
		}
		next = h.content + h.length
		return wrap(h.tag, t.input[h.content:next]), next, nil
	}
	pieces := h.tag&^byte(constructed) == tagOctetString && h.tag&classMask == 0
	var content []byte
	limit := h.content + h.length
	if h.indefinite {
		limit = end
	}
	at := h.content
	for {
		if h.indefinite {
			if end-at < 2 {
				return nil, 0, errTruncated
			}
			if t.input[at] == 0 && t.input[at+1] == 0 {
				at += 2
				break
			}
		} else if at == limit {
			break
		}
		child, after, err := t.value(at, limit, depth+1)
		if err != nil {
			return nil, 0, err
		}
		if pieces {
			if child, err = t.piece(child); err != nil {
				return nil, 0, err
			}
		}
		content, at = append(content, child...), after
	}
	tag := h.tag
	if pieces {
		tag = tagOctetString
	}
	return wrap(tag, content), at, nil
}

// piece takes the header off a piece of a constructed OCTET STRING, which value has made DER already.
func (t *transcoder) piece(der []byte) ([]byte, error) {
	if der[0] != tagOctetString {
		return nil, errors.New("a piece of an OCTET STRING is another type")
	}
	inner := transcoder{input: der}
	h, err := inner.header(0, len(der))
	if err != nil {
		return nil, err
	}
	return der[h.content:], nil
}

func wrap(tag byte, content []byte) []byte {
	out := make([]byte, 0, len(content)+6)
	out = append(out, tag)
	switch n := len(content); {
	case n < 0x80:
		out = append(out, byte(n))
	case n <= 0xff:
		out = append(out, 0x81, byte(n))
	case n <= 0xffff:
		out = append(out, 0x82, byte(n>>8), byte(n))
	default:
		out = append(out, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(out, content...)
}
