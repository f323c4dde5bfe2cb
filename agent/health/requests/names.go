package requests

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// dateDigits is from how many digits on a name has a date in it, year and month at least, and no count.
const dateDigits = 4

// logFile is a file of a family. The names of a family differ in their digits, which count as a number, however many they are.
type logFile struct{ name, digits string }

func newLogFile(name string) (file logFile, family string) {
	var digits, others []byte
	for i := range len(name) {
		if c := name[i]; '0' <= c && c <= '9' {
			digits = append(digits, c)
		} else {
			others = append(others, c)
		}
	}
	family = strings.ToLower(string(others))
	if len(digits) >= dateDigits {
		family += strconv.Itoa(len(digits))
	}
	return logFile{name, strings.TrimLeft(string(digits), "0")}, family
}

// compare says which file was begun before the other.
func (f logFile) compare(g logFile) int {
	return cmp.Or(cmp.Compare(len(f.digits), len(g.digits)), strings.Compare(f.digits, g.digits), strings.Compare(f.name, g.name))
}

// families sorts files by what their names have beside digits, and by how many digits those of a date are: hourly logs are no
// successors of daily ones. Each list is in the order in which its files were begun.
func families(names []string) map[string][]logFile {
	found := map[string][]logFile{}
	for _, name := range names {
		file, family := newLogFile(name)
		found[family] = append(found[family], file)
	}
	for _, more := range slices.Sorted(maps.Keys(found))[min(maxFamilies, len(found)):] {
		delete(found, more)
	}
	for _, list := range found {
		slices.SortFunc(list, logFile.compare)
	}
	return found
}
