package telemetry

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
)

// Schema names what a body is, and its version.
const Schema = "ems.mitigation.dev/telemetry/v1"

const (
	// MaxServers bounds the servers of one request.
	MaxServers = 1000
	// maxBytes bounds a body before it is compressed. A server with some mitigations takes 300 bytes; one with everything that
	// its plan can hold, 2,048 mitigations with ids of 63 characters, applied and with as many blocked parts, less than half a megabyte.
	maxBytes = 4 << 20
)

// ContentType is that of a body.
const ContentType = "application/json"

// Bodies are the requests that the records go out in, one after the other; none without a record. A body has a line for each server.
func Bodies(records []Record) ([][]byte, error) {
	var bodies [][]byte
	var body []byte
	servers := 0
	for i := range records {
		line, err := json.Marshal(&records[i])
		if err != nil {
			return nil, fmt.Errorf("record of device %q: %w", records[i].DeviceID, err)
		}
		if servers == MaxServers || servers > 0 && len(body)+len(line) > maxBytes {
			bodies, servers = append(bodies, end(body)), 0
		}
		if servers == 0 {
			body = fmt.Appendf(nil, "{%q:%q,%q:[\n", "schema", Schema, "servers")
		} else {
			body = append(body, ",\n"...)
		}
		body = append(body, line...)
		servers++
	}
	if servers > 0 {
		bodies = append(bodies, end(body))
	}
	return bodies, nil
}

func end(body []byte) []byte { return append(body, "\n]}\n"...) }

// Compress is how a body travels: by gzip, without a time and a name in its header.
func Compress(body []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	// A buffer takes everything.
	_, _ = w.Write(body)
	_ = w.Close()
	return out.Bytes()
}
