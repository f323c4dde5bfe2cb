package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"time"
)

// entry is a file, or a folder if its mode says so, of an archive.
type entry struct {
	name    string
	mode    fs.FileMode
	content []byte
}

// tarball returns a tar archive that depends on nothing but its arguments.
func tarball(entries []entry, at time.Time) ([]byte, error) {
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, e := range entries {
		header := &tar.Header{
			Format: tar.FormatPAX, Typeflag: tar.TypeReg, Name: e.name, Mode: int64(e.mode.Perm()), Size: int64(len(e.content)), ModTime: at,
		}
		if e.mode.IsDir() {
			header.Typeflag, header.Name = tar.TypeDir, e.name+"/"
		}
		if err := writer.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("tar: %s: %w", e.name, err)
		}
		if _, err := writer.Write(e.content); err != nil {
			return nil, fmt.Errorf("tar: %s: %w", e.name, err)
		}
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("tar: %w", err)
	}
	return buffer.Bytes(), nil
}

// compress makes a gzip stream without a name and a time.
func compress(content []byte) ([]byte, error) {
	var buffer bytes.Buffer
	writer, err := gzip.NewWriterLevel(&buffer, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	if _, err := writer.Write(content); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return buffer.Bytes(), nil
}

// tarGz is a compressed tarball.
func tarGz(entries []entry, at time.Time) ([]byte, error) {
	content, err := tarball(entries, at)
	if err != nil {
		return nil, err
	}
	return compress(content)
}

// zipped returns a zip archive that depends on nothing but its arguments.
func zipped(entries []entry, at time.Time) ([]byte, error) {
	var buffer bytes.Buffer
	writer := zip.NewWriter(&buffer)
	for _, e := range entries {
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: at.UTC()}
		header.SetMode(e.mode)
		file, err := writer.CreateHeader(header)
		if err != nil {
			return nil, fmt.Errorf("zip: %s: %w", e.name, err)
		}
		if _, err := file.Write(e.content); err != nil {
			return nil, fmt.Errorf("zip: %s: %w", e.name, err)
		}
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("zip: %w", err)
	}
	return buffer.Bytes(), nil
}
