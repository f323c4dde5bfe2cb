package c14n

// text writes the value of a text node (Canonical XML 1.0, section 2.3, text nodes). Bytes can be looked at one by one,
// since what is replaced is ASCII and UTF-8 has no ASCII bytes within other characters.
func (w *writer) text(data string) {
	written := 0
	for i := range len(data) {
		var replacement string
		switch data[i] {
		case '&':
			replacement = "&amp;"
		case '<':
			replacement = "&lt;"
		case '>':
			replacement = "&gt;"
		case '\r':
			replacement = "&#xD;"
		default:
			continue
		}
		w.out = append(append(w.out, data[written:i]...), replacement...)
		written = i + 1
	}
	w.out = append(w.out, data[written:]...)
}

// attribute writes an attribute or a namespace declaration (Canonical XML 1.0, section 2.3, attribute nodes). Other than
// in text, > stays and white space that is no blank is replaced.
func (w *writer) attribute(prefix, local, value string) {
	w.out = append(w.out, ' ')
	w.qualified(prefix, local)
	w.out = append(w.out, `="`...)
	written := 0
	for i := range len(value) {
		var replacement string
		switch value[i] {
		case '&':
			replacement = "&amp;"
		case '<':
			replacement = "&lt;"
		case '"':
			replacement = "&quot;"
		case '\t':
			replacement = "&#x9;"
		case '\n':
			replacement = "&#xA;"
		case '\r':
			replacement = "&#xD;"
		default:
			continue
		}
		w.out = append(append(w.out, value[written:i]...), replacement...)
		written = i + 1
	}
	w.out = append(append(w.out, value[written:]...), '"')
}
