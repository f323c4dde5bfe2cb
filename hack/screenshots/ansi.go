//go:build unix

package main

import (
	"html"
	"regexp"
	"strings"
)

// escape is a sequence that steers a terminal: colours end with m, all others are left out.
var escape = regexp.MustCompile("\x1b\\[([0-9;?]*)([A-Za-z])")

// styles are the classes of the parameters of SGR.
var styles = map[string]string{
	"1": "b", "2": "d", "31": "red", "32": "green", "33": "yellow", "34": "blue", "35": "magenta", "36": "cyan", "90": "d",
}

// spans makes HTML of what a program wrote to a terminal line by line.
func spans(text string) string {
	var out strings.Builder
	open := 0
	end := func() {
		out.WriteString(strings.Repeat("</span>", open))
		open = 0
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for text != "" {
		at := escape.FindStringSubmatchIndex(text)
		if at == nil {
			out.WriteString(html.EscapeString(text))
			break
		}
		out.WriteString(html.EscapeString(text[:at[0]]))
		if text[at[4]:at[5]] == "m" {
			for code := range strings.SplitSeq(text[at[2]:at[3]], ";") {
				switch class, ok := styles[code]; {
				case ok:
					out.WriteString(`<span class="` + class + `">`)
					open++
				case code == "" || code == "0":
					end()
				}
			}
		}
		text = text[at[1]:]
	}
	end()
	return out.String()
}

// terminal is a page that looks like a terminal in which a command was typed.
func terminal(command, output string) string {
	return `<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>terminal</title><style>
html{background:#0f141a}body{margin:0;padding:18px;font:15px/1.5 "Cascadia Mono",Consolas,"Liberation Mono","DejaVu Sans Mono",monospace}
#w{background:#161b22;color:#e3e9f0;border:1px solid #30363d;border-radius:10px;overflow:hidden}
#t{display:flex;gap:8px;padding:11px 14px;background:#21262d}i{width:12px;height:12px;border-radius:50%;background:#484f58}
pre{margin:0;padding:14px 18px 18px;font:inherit;white-space:pre}.b{font-weight:700}.d{color:#8b949e}.red{color:#ff7b70}.green{color:#56c271}
.yellow{color:#e6b450}.blue{color:#6cb0ff}.magenta{color:#c39bf5}.cyan{color:#4cc3d6}</style>
<div id="w"><div id="t"><i></i><i></i><i></i></div><pre><span class="green">$</span> ` + html.EscapeString(command) + "\n" + spans(output) + `</pre></div></html>`
}
