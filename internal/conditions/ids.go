package conditions

import (
	"fmt"
	"strings"
)

// maxIDs is the length that the API allows for a list of ids in a summary.
const maxIDs = 512

// IDs lists ids for a column of a table, without blanks so that tools can cut columns. What does not fit is counted.
func IDs(ids []string) string {
	text := strings.Join(ids, ",")
	for shown := len(ids) - 1; len(text) > maxIDs && shown > 0; shown-- {
		text = fmt.Sprintf("%s,and-%d-more", strings.Join(ids[:shown], ","), len(ids)-shown)
	}
	return text
}
