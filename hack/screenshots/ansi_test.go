//go:build unix

package main

import (
	"image"
	"image/color"
	"testing"
)

func TestColoursBecomeSpans(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"text stays":               {"a & b\r\nc", "a &amp; b\nc"},
		"a colour ends":            {"\x1b[31mred\x1b[0m plain", `<span class="red">red</span> plain`},
		"several at once":          {"\x1b[1;32mok\x1b[m", `<span class="b"><span class="green">ok</span></span>`},
		"what is open is closed":   {"\x1b[2mdim", `<span class="d">dim</span>`},
		"other sequences are gone": {"\x1b[?25l\x1b[2Ka\x1b[38mb", "ab"},
		"foreign tags are text":    {"\x1b[33m<b>", `<span class="yellow">&lt;b&gt;</span>`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := spans(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestFewColours(t *testing.T) {
	from := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for i := range 64 * 64 {
		from.Set(i%64, i/64, color.RGBA{R: uint8(i), G: uint8(i / 16), B: 200, A: 255}) //nolint:gosec // wraps on purpose
	}
	black, green := color.RGBA{A: 255}, color.RGBA{G: 220, A: 255}
	for x := range 64 {
		from.Set(x, 7, black)
	}
	from.Set(3, 3, green)
	got := fewColours(from)
	if len(got.Palette) > maxColours || len(got.Palette) < 50 {
		t.Errorf("%d colours", len(got.Palette))
	}
	if got.At(20, 7) != black {
		t.Errorf("the commonest colour became %v", got.At(20, 7))
	}
	if got.At(3, 3) != green {
		t.Errorf("the colour of a dot became %v", got.At(3, 3))
	}
}
