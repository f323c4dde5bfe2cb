package page

import (
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"mitigation.dev/ems/controllers/page/pagetest"
)

// elements and attributes are all that a page is made of.
var (
	elements = strings.Fields("a b bdi body br button caption circle code dd details div dl dt footer form h1 h2 h3 head header html i input label li link main meta " +
		"nav ol p path pre rect script section span summary svg symbol table tbody td th thead time title tr ul use wbr")
	attributes = strings.Fields("action aria-current aria-hidden aria-label aria-labelledby autocapitalize autocomplete autofocus charset class content cx cy d " +
		"data-etag data-key data-live datetime defer focusable for height href id lang maxlength method name preserveAspectRatio r rel required role rx scope " +
		"spellcheck src tabindex title type value viewBox width x y")
)

func TestHostileTextIsText(t *testing.T) {
	for name, text := range map[string]string{
		"a script":                `<script>alert(1)</script>`,
		"an end of everything":    `"></title></textarea></script></style></svg></table></section><script src=//evil.example></script>`,
		"an attribute":            `" onmouseover="alert(1)" x="`,
		"an attribute in quotes":  `' onfocus='alert(1)' autofocus='`,
		"a picture":               `<img src=x onerror=alert(1)>`,
		"a URL":                   `javascript:alert(1)`,
		"a template":              `{{.}} ${alert(1)} {{template "page" .}}`,
		"a vector graphic":        `<svg onload=alert(1)><use href="data:image/svg+xml,x"/></svg>`,
		"an end of a comment":     `--><script>alert(1)</script><!--`,
		"backticks with a script": "`<script>alert(1)</script>`",
		"bytes that are no text":  "\xff\xfe<b>",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, pagetest.Hostile(begin, text))
			visible := strings.ReplaceAll(strings.ReplaceAll(text, "`", ""), "\xff\xfe", "��")
			for _, url := range []string{
				"/fleet", "/fleet/mitigations/m1", "/fleet/pools/exchange/frontend", "/fleet/pools/exchange/edge", "/fleet/servers/exchange/frontend01",
			} {
				html := s.get(t, url)
				if !utf8.ValidString(html) {
					t.Errorf("%s is not UTF-8", url)
				}
				harmless(t, url, html)
				shown := 0
				for _, n := range nodes(t, html) {
					if strings.Contains(n.text, visible) {
						shown++
					}
				}
				if shown == 0 {
					t.Errorf("%s does not show the text at all, so that this proves nothing", url)
				}
			}
		})
	}
}

// harmless checks that a page is made of what its templates are made of.
func harmless(t *testing.T, url, html string) {
	t.Helper()
	scripts := 0
	for _, n := range nodes(t, html) {
		if n.tag == "" {
			continue
		}
		if !slices.Contains(elements, n.tag) {
			t.Errorf("%s has an element %q", url, n.tag)
		}
		if n.tag == "script" && !n.end {
			scripts++
			if n.attr("src") != "/fleet/assets/live.js" {
				t.Errorf("%s has a script %q", url, n.attr("src"))
			}
		}
		for _, a := range n.attrs {
			if !slices.Contains(attributes, a.Name.Local) {
				t.Errorf("%s: <%s> has an attribute %q", url, n.tag, a.Name.Local)
			}
			switch a.Name.Local {
			case "href", "src", "action":
				if !strings.HasPrefix(a.Value, "/fleet") && !strings.HasPrefix(a.Value, "#") && !strings.HasPrefix(a.Value, "?") {
					t.Errorf("%s: <%s> leads to %q", url, n.tag, a.Value)
				}
			}
		}
	}
	if scripts > 1 {
		t.Errorf("%s has %d scripts", url, scripts)
	}
}

func TestPlain(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"text stays":                          {"fe01: status 500, was 200", "fe01: status 500, was 200"},
		"other scripts stay":                  {"Pool für Müller, 東京, العربية", "Pool für Müller, 東京, العربية"},
		"lines become one":                    {"a\r\nb\tc", "a  b c"},
		"what turns the direction does not":   {"user\u202etxt.exe", "user�txt.exe"},
		"nor what isolates it":                {"a\u2066b\u2069", "a�b�"},
		"nor what is invisible":               {"ad\u200bmin\ufeff", "ad�min�"},
		"nor what steers terminals":           {"\x1b[31mred\x07", "�[31mred�"},
		"nor separators of lines":             {"a\u2028b", "a�b"},
		"nor bytes that are no text":          {"a\xffb", "a�b"},
		"long text is cut between characters": {strings.Repeat("ü", maxText+1), strings.Repeat("ü", maxText) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := plain(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("a\u202eb\x00`c`")
	f.Fuzz(func(t *testing.T, text string) {
		got := plain(text)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > maxText+1 || strings.ContainsAny(got, "\n\r\u202e\u2066\u200f\x00\x1b") {
			t.Errorf("%q became %q", text, got)
		}
		_ = prose(text)
		_ = block(text)
		_ = target(text)
	})
}

// Secrets in the URL of a feed are not shown.
func TestFeedsShowNoSecrets(t *testing.T) {
	html := newSite(t, pagetest.Small(begin)).get(t, "/fleet")
	for _, secret := range []string{"hunter2", "s3cret", "reader"} {
		if strings.Contains(html, secret) {
			t.Errorf("the page shows %q", secret)
		}
	}
}

// Every sign has a shape, a colour and, in a bar, a colour as well.
func TestSignsCanBeTold(t *testing.T) {
	symbols, err := os.ReadFile("templates/layout.html")
	if err != nil {
		t.Fatal(err)
	}
	css := string(assets["page.css"].body)
	shapes := map[string]sign{}
	for _, s := range signs {
		_, rest, ok := strings.Cut(string(symbols), `<symbol id="`+string(s)+`"`)
		if !ok {
			t.Errorf("%s has no symbol", s)
			continue
		}
		shape, _, _ := strings.Cut(rest, "</symbol>")
		if other, taken := shapes[shape]; taken {
			t.Errorf("%s and %s look the same", s, other)
		}
		shapes[shape] = s
		if !strings.Contains(css, "--"+string(s)+":") {
			t.Errorf("%s has no colour", s)
		}
	}
	for _, c := range classes {
		if !strings.Contains(css, "rect."+string(c.Sign)+" ") {
			t.Errorf("%s has no colour in a bar", c.Sign)
		}
	}
}

// Text has a contrast of 4.5 to 1, signs have 3 to 1 (WCAG 2.2, AA, 1.4.3 and 1.4.11), in the light and in the dark.
func TestContrast(t *testing.T) {
	css := string(assets["page.css"].body)
	light, rest, ok := strings.Cut(css, "@media (prefers-color-scheme: dark)")
	dark, _, closed := strings.Cut(rest, "}\n}")
	if !ok || !closed {
		t.Fatal("the style sheet has no dark colours")
	}
	variable := regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{3,6});`)
	for scheme, text := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]string{}
		for _, found := range variable.FindAllStringSubmatch(text, -1) {
			colours[found[1]] = found[2]
		}
		check := func(front, back string, least float64) {
			if colours[front] == "" || colours[back] == "" {
				t.Errorf("%s: %s or %s is no colour", scheme, front, back)
				return
			}
			if got := contrast(t, colours[front], colours[back]); got < least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", scheme, front, back, got, least)
			}
		}
		for _, back := range []string{"card", "back", "ok-back", "failed-back", "broken-back", "moving-back", "waiting-back", "grey-back", "audit-back", "code"} {
			check("text", back, 4.5)
			check("dim", back, 4.5)
		}
		check("link", "card", 4.5)
		check("failed", "card", 4.5) // tags
		check("broken", "card", 4.5)
		check("audit", "card", 4.5)
		for _, s := range signs {
			check(string(s), "card", 3)
		}
		for sign, back := range map[string]string{
			"ok": "ok-back", "failed": "failed-back", "broken": "broken-back", "moving": "moving-back", "waiting": "waiting-back", "blocked": "grey-back", "audit": "audit-back",
		} {
			check(sign, back, 3)
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	l, m := luminance(t, a), luminance(t, b)
	return (max(l, m) + 0.05) / (min(l, m) + 0.05)
}

// luminance is the relative luminance of WCAG.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	if len(colour) == 3 {
		colour = strings.Repeat(colour[:1], 2) + strings.Repeat(colour[1:2], 2) + strings.Repeat(colour[2:], 2)
	}
	parts := [3]float64{}
	for i := range parts {
		value, err := strconv.ParseUint(colour[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		if c := float64(value) / 255; c <= 0.04045 {
			parts[i] = c / 12.92
		} else {
			parts[i] = math.Pow((c+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*parts[0] + 0.7152*parts[1] + 0.0722*parts[2]
}
