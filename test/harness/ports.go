package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below the range that Linux takes the ports of outgoing connections from (32768 and up). A process
// that is killed and started again needs its port to be free meanwhile, and the clients that try to reach it would take
// a port of that range for themselves, even connect to themselves.
const (
	firstPort = 20000
	lastPort  = 32000
)

// freePorts returns ports of 127.0.0.1 that nobody listens on.
func freePorts(count int) ([]string, error) {
	var ports []string
	candidate := firstPort + rand.IntN(lastPort-firstPort)
	for range lastPort - firstPort {
		if len(ports) == count {
			return ports, nil
		}
		if candidate++; candidate > lastPort {
			candidate = firstPort
		}
		port := strconv.Itoa(candidate)
		listener, err := net.Listen("tcp", net.JoinHostPort(loopback, port)) //nolint:noctx // there is no name to look up
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			return nil, fmt.Errorf("ports: %w", err)
		}
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("ports: no %d free ones between %d and %d", count, firstPort, lastPort)
}

const loopback = "127.0.0.1"
