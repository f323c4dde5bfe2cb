//go:build unix

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"slices"
)

const (
	// maxColours is what a PNG with a palette can have.
	maxColours = 256
	// maxBytes of a picture: a page of the documents with five of them is loaded in a moment.
	maxBytes = 150 << 10
)

// save writes a picture with few colours.
func save(path string, picture []byte) error {
	decoded, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&out, fewColours(decoded)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if out.Len() > maxBytes {
		return fmt.Errorf("%s: %d bytes: want at most %d; show less", path, out.Len(), maxBytes)
	}
	return os.WriteFile(path, out.Bytes(), 0o644) //nolint:gosec // a file of the repository
}

// fewColours keeps the commonest colours, and puts the nearest of them in place of the others, which are the edges of letters.
func fewColours(from image.Image) *image.Paletted {
	bounds := from.Bounds()
	counts := map[color.RGBA]int{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[rgba(from.At(x, y))]++
		}
	}
	colours := make([]color.RGBA, 0, len(counts))
	for c := range counts {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	palette := color.Palette{}
	for _, c := range colours {
		// A shade of one that is there already would take the room of a colour that is rare: a dot, a small sign.
		if len(palette) < maxColours && !slices.ContainsFunc(palette, func(p color.Color) bool { return near(p.(color.RGBA), c) }) {
			palette = append(palette, c)
		}
	}
	nearest := map[color.RGBA]uint8{}
	to := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := rgba(from.At(x, y))
			index, known := nearest[c]
			if !known {
				index = uint8(palette.Index(c)) //nolint:gosec // a palette has 256 colours
				nearest[c] = index
			}
			to.SetColorIndex(x, y, index)
		}
	}
	return to
}

// near reports whether nobody can tell two colours apart in a letter's edge.
func near(a, b color.RGBA) bool {
	const most = 9
	between := func(x, y uint8) int { return max(int(x), int(y)) - min(int(x), int(y)) }
	return max(between(a.R, b.R), between(a.G, b.G), between(a.B, b.B)) < most
}

func rgba(c color.Color) color.RGBA { return color.RGBAModel.Convert(c).(color.RGBA) }
