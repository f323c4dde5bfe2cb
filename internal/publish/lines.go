package publish

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	yamlnodes "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// lineError is an error at a line, counted from 1.
type lineError struct {
	line int
	err  error
}

// Error implements error.
func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }

// Unwrap returns the cause.
func (e *lineError) Unwrap() error { return e.err }

var (
	yamlLine     = regexp.MustCompile(`line (\d+): `)
	unknownField = regexp.MustCompile(`^(?:unknown|duplicate) field "([^"]+)"$`)
	fieldPart    = regexp.MustCompile(`[^.\[\]]+`)
)

// textError is an error whose text was shortened.
type textError struct {
	text string
	err  error
}

// Error implements error.
func (e *textError) Error() string { return e.text }

// Unwrap returns the cause.
func (e *textError) Unwrap() error { return e.err }

// fieldsOfYAML turns YAML into JSON with every letter as it is, and refuses what is no list of fields: the JSON package would
// name a type of this program instead.
func fieldsOfYAML(content []byte) ([]byte, error) {
	converted, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return nil, atLineOfYAML(err)
	}
	if !bytes.HasPrefix(converted, []byte("{")) && !bytes.Equal(converted, []byte("null")) {
		return nil, errors.New("not a list of fields in YAML")
	}
	return converted, nil
}

// atLineOfYAML takes the line out of the text of the YAML package's errors, which have it nowhere else. The package leaves it
// out where it is the first.
func atLineOfYAML(err error) error {
	text, line := err.Error(), 0
	if strings.HasPrefix(text, "yaml: ") {
		line = 1
	}
	if found := yamlLine.FindStringSubmatchIndex(text); found != nil {
		number, atoiErr := strconv.Atoi(text[found[2]:found[3]])
		if atoiErr != nil {
			return err
		}
		line, text = number, text[:found[0]]+text[found[1]:]
	}
	text = strings.Join(strings.Fields(strings.ReplaceAll(text, "unmarshal errors:", "")), " ")
	if line == 0 {
		return &textError{text, err}
	}
	return &lineError{line, &textError{text, err}}
}

// atLinesOfFields adds lines to errors about fields. They come from the JSON form, which has lost them, and name a path such
// as actions[0].colour.
func atLinesOfFields(content []byte, problems []error) []error {
	if len(problems) == 0 {
		return nil
	}
	var document yamlnodes.Node
	if err := yamlnodes.Unmarshal(content, &document); err != nil || len(document.Content) != 1 {
		return problems
	}
	// The JSON package orders them by name; people read from top to bottom.
	lines := map[error]int{}
	positioned := make([]error, 0, len(problems))
	for _, err := range problems {
		if found := unknownField.FindStringSubmatch(err.Error()); found != nil {
			if line := lineOfField(document.Content[0], fieldPart.FindAllString(found[1], -1)); line > 0 {
				err = &lineError{line, err}
				lines[err] = line
			}
		}
		positioned = append(positioned, err)
	}
	slices.SortStableFunc(positioned, func(a, b error) int { return cmp.Compare(lines[a], lines[b]) })
	return positioned
}

// lineOfField returns the line of a key, 0 if it cannot be found, as behind an alias.
func lineOfField(node *yamlnodes.Node, path []string) int {
	line := 0
	for _, part := range path {
		var next *yamlnodes.Node
		switch node.Kind {
		case yamlnodes.MappingNode:
			for i := 0; i+1 < len(node.Content); i += 2 {
				if node.Content[i].Value == part {
					line, next = node.Content[i].Line, node.Content[i+1]
				}
			}
		case yamlnodes.SequenceNode:
			if index, err := strconv.Atoi(part); err == nil && index < len(node.Content) {
				next = node.Content[index]
			}
		default:
			// Scalars have no fields, and what an alias stands for is somewhere else.
		}
		if next == nil {
			return 0
		}
		node = next
	}
	return line
}
