// Package lossless reads an XML configuration file into elements with byte offsets, so that a caller can change a few
// bytes and leave every other byte as it was: byte order mark, line ends, tabs, attribute order, quoting, entity
// spelling, comments and trailing blanks.
//
// # Usage
//
// Parse gives a Document. Its elements say where their tags, attributes and values stand. A change is a list of
// Splices that Apply puts into the bytes; the result is parsed again before anyone writes it to disk.
//
// # Considerations
//
// A writer that serialises a tree (encoding/xml, etree, the administration tools of IIS themselves) formats the file
// its own way and can never give back the bytes it started from. That is why there is no serialiser here.
//
// The reader refuses what it does not understand instead of repairing it: other encodings than UTF-8, document type
// declarations, unknown entities, anything that is not well-formed. Parse has a second reader go over the same bytes,
// which shares no code with the first and only follows tags, quotes and comments, and refuses the file when the two see
// different elements or another order of them; up to 2 MiB encoding/xml has to agree as well. Scan leaves that out and is
// meant for bytes that are parsed again later anyway; CrossCheck makes up for it.
//
// Attributes are checked when the file is read, and read again from their tag whenever somebody asks for one: of the
// hundreds of thousands in a large file only a few are ever asked for.
//
// Names and values are parts of the bytes, not copies: whoever keeps one of them keeps the whole file in memory.
package lossless
