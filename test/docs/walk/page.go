package walk

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Page is a page of the documents, as far as commands go.
type Page struct {
	// Path is that in the repository, with slashes.
	Path string
	// Scenario names what has to be there before the first command; empty if the page does not say.
	Scenario string
	// TestedBy are files of tests that run commands of this page, by the language of the blocks; "" for all of them.
	TestedBy map[string][]string
	Blocks   []Block
}

// Block is a fenced block with commands, or a hidden setup.
type Block struct {
	// Line is that of the fence, from 1.
	Line int
	// Language is what stands behind the fence; Hidden for a setup that readers do not see.
	Language string
	// Columns: only the first line of the output is compared, the others are an illustration.
	Columns bool
	// Example: the output is that of another fleet, and not compared.
	Example bool
	// Given: the scenario stands for this block. It is only run where there is none.
	Given bool
	// Until: the command goes on in the background; the next one may begin when it has printed this.
	Until string
	// Exit is the code that its last command ends with.
	Exit     int
	Commands []Command
}

// Hidden is the language of a setup in a comment.
const Hidden = "hidden"

// Command is what a reader types at once.
type Command struct {
	Line int
	Text string
	// Output is what the page shows of it, with a line end; empty if it shows nothing.
	Output string
}

// languages are those of blocks that hold commands.
var languages = []string{"console", "sh", "bash", "shell", "powershell", "cmd"}

// directives are comments of the form <!-- docs:NAME VALUE -->.
var directive = regexp.MustCompile(`(?s)^<!-- docs:([a-z-]+)[ \n]?(.*?)-->$`)

// Directives that speak of the next block are kept until it comes.
type pending struct {
	columns, example, given bool
	until                   string
	exit                    int
}

// Parse reads a page. Errors name the line.
func Parse(path, text string) (*Page, error) {
	p := &Page{Path: path, TestedBy: map[string][]string{}}
	lines := strings.Split(text, "\n")
	var next pending
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		switch {
		case strings.HasPrefix(line, "<!-- docs:"):
			begin := i
			for !strings.HasSuffix(strings.TrimSpace(lines[i]), "-->") {
				if i++; i == len(lines) {
					return nil, fmt.Errorf("%s:%d: the comment has no end", path, begin+1)
				}
			}
			comment := strings.TrimSpace(strings.Join(lines[begin:i+1], "\n"))
			if err := p.direct(comment, begin+1, &next); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", path, begin+1, err)
			}
		case strings.HasPrefix(line, "```"):
			fence := line[:len(line)-len(strings.TrimLeft(line, "`"))]
			begin := i
			for i++; i < len(lines) && strings.TrimSpace(lines[i]) != fence; i++ {
				continue
			}
			if i >= len(lines) {
				return nil, fmt.Errorf("%s:%d: the block has no end", path, begin+1)
			}
			language := strings.TrimPrefix(line, fence)
			if !slices.Contains(languages, language) {
				continue
			}
			b := Block{Line: begin + 1, Language: language, Columns: next.columns, Example: next.example, Given: next.given, Until: next.until, Exit: next.exit}
			b.Commands = commands(language, lines[begin+1:i], begin+2)
			p.Blocks = append(p.Blocks, b)
			next = pending{}
		}
	}
	if next != (pending{}) {
		return nil, fmt.Errorf("%s: the last comment speaks of a block, and none follows", path)
	}
	return p, nil
}

// direct takes in a comment.
func (p *Page) direct(comment string, line int, next *pending) error {
	parts := directive.FindStringSubmatch(comment)
	if parts == nil {
		return fmt.Errorf("comment %q: not of the form <!-- docs:NAME VALUE -->", comment)
	}
	value := strings.TrimSpace(parts[2])
	switch parts[1] {
	case "scenario":
		p.Scenario = value
	case "tested-by":
		file, language, _ := strings.Cut(value, " ")
		p.TestedBy[language] = append(p.TestedBy[language], file)
	case "before":
		p.Blocks = append(p.Blocks, Block{Line: line, Language: Hidden, Commands: []Command{{Line: line, Text: value}}})
	case "columns":
		next.columns = true
	case "example":
		next.example = true
	case "given":
		next.given = true
	case "background":
		next.until = value
	case "exit":
		code, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("exit %q: not a number", value)
		}
		next.exit = code
	default:
		return fmt.Errorf("directive %q: not known", parts[1])
	}
	return nil
}

// commands cuts a block into commands. In a console, those begin with a prompt, $ or >, go on after a backslash, and what follows is
// what they print. In other languages the block is one command, since a shell reads it as one.
func commands(language string, lines []string, first int) []Command {
	if language != "console" {
		return []Command{{Line: first, Text: strings.Join(lines, "\n")}}
	}
	var found []Command
	for i := 0; i < len(lines); i++ {
		text, ok := strings.CutPrefix(lines[i], "$ ")
		if !ok {
			text, ok = strings.CutPrefix(lines[i], "> ")
		}
		if !ok {
			if len(found) > 0 {
				found[len(found)-1].Output += lines[i] + "\n"
			}
			continue
		}
		c := Command{Line: first + i, Text: text}
		for strings.HasSuffix(lines[i], `\`) && i+1 < len(lines) {
			i++
			c.Text += "\n" + lines[i]
		}
		found = append(found, c)
	}
	return found
}

// CoveredBy are the tests that run a block.
func (p *Page) CoveredBy(b Block) []string {
	return append(slices.Clone(p.TestedBy[""]), p.TestedBy[b.Language]...)
}
