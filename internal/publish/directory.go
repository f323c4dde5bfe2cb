package publish

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"mitigation.dev/ems/internal/ocs"
)

// maxDirectoryEntries bounds the files of a directory: all Configs of a document, and as much again that is not read.
const maxDirectoryEntries = 2 * ocs.MaxConfigs

// readers are the forms of a mitigation by the end of a file's name.
var readers = map[string]func(content []byte) (ocs.Config, error){
	".yaml": ReadMitigation,
	".yml":  ReadMitigation,
	".xml":  ReadMitigationXML,
}

// Source is a mitigation with the file that it was read from.
type Source struct {
	// File is the name of the file, for messages.
	File   string
	Config ocs.Config
}

// FileError is what is wrong in a file.
type FileError struct {
	File string
	// Line counts from 1; 0: not known.
	Line int
	Err  error
}

// Error implements error, in the form that editors jump to.
func (e *FileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// ReadMitigationXML reads one Config element of the document format that stands alone in a file. Rules are kept byte for byte;
// line ends other than LF become LF, as in all XML. It is judged by the rules of the document format.
func ReadMitigationXML(content []byte) (ocs.Config, error) {
	if len(content) > MaxMitigationBytes {
		return ocs.Config{}, fmt.Errorf("%d bytes: at most %d", len(content), MaxMitigationBytes)
	}
	// Windows editors begin files with a byte order mark and end lines with CR LF. The rules are copied as bytes into a
	// document in which a CR would have to be written as a reference, and XML reads CR LF as LF (XML 1.0, section 2.11).
	text := strings.TrimPrefix(string(content), "\ufeff")
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	config, err := ocs.ParseConfig([]byte(text))
	if refused, ok := errors.AsType[*ocs.ConfigError](err); ok {
		return ocs.Config{}, &lineError{refused.Line, err}
	}
	return config, err
}

// ReadDirectory reads every file that ends in .yaml, .yml or .xml, in the order of the names; that is the order in the
// document. Other files, hidden files and folders are passed over. The error lists what is wrong in all files, each a
// *FileError.
func ReadDirectory(folder fs.FS) ([]Source, error) {
	sources, problems, err := readDirectory(folder)
	if err != nil {
		return nil, err
	}
	joined := make([]error, 0, len(problems))
	for _, p := range problems {
		joined = append(joined, p)
	}
	if err := errors.Join(joined...); err != nil {
		return nil, err
	}
	return sources, nil
}

// readDirectory returns what could be read and what is wrong with the rest.
func readDirectory(folder fs.FS) (sources []Source, problems []*FileError, err error) {
	entries, err := fs.ReadDir(folder, ".")
	if err != nil {
		return nil, nil, fmt.Errorf("mitigations: %w", err)
	}
	if len(entries) > maxDirectoryEntries {
		return nil, nil, fmt.Errorf("mitigations: %d entries in the directory: at most %d", len(entries), maxDirectoryEntries)
	}
	fileOf := map[string]string{}
	for _, entry := range entries {
		name := entry.Name()
		read, known := readers[path.Ext(name)]
		if entry.IsDir() || strings.HasPrefix(name, ".") || !known {
			continue
		}
		config, err := readFile(folder, name, read)
		if err != nil {
			problems = append(problems, inFile(name, err)...)
			continue
		}
		key := strings.ToLower(config.ID)
		if other, ok := fileOf[key]; ok {
			problems = append(problems, &FileError{File: name, Err: fmt.Errorf("id %q: %s has it too; ids are unique without regard to case", config.ID, other)})
			continue
		}
		fileOf[key] = name
		sources = append(sources, Source{File: name, Config: config})
	}
	if len(sources)+len(problems) == 0 {
		return nil, nil, errors.New("mitigations: no file ending in .yaml, .yml or .xml in the directory")
	}
	return sources, problems, nil
}

func readFile(folder fs.FS, name string, read func([]byte) (ocs.Config, error)) (ocs.Config, error) {
	info, err := fs.Stat(folder, name)
	if err != nil {
		return ocs.Config{}, err
	}
	if info.Size() > MaxMitigationBytes {
		return ocs.Config{}, fmt.Errorf("%d bytes: at most %d", info.Size(), MaxMitigationBytes)
	}
	content, err := fs.ReadFile(folder, name)
	if err != nil {
		return ocs.Config{}, err
	}
	return read(content)
}

// inFile takes joined errors apart, so that each has its own line.
func inFile(name string, err error) []*FileError {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*FileError
		for _, one := range joined.Unwrap() {
			all = append(all, inFile(name, one)...)
		}
		return all
	}
	if positioned, ok := errors.AsType[*lineError](err); ok {
		return []*FileError{{File: name, Line: positioned.line, Err: positioned.err}}
	}
	return []*FileError{{File: name, Err: err}}
}
