// The agent: first process of a Bulkhead guest. It makes the guest ready, answers the host on one port, and has crun make
// the containers. It decides nothing about policy; whatever the host sends, it answers or refuses, and lives on.
//
// Read in this order: main, boot (from kernel to first word), session (the wire), dispatch (every request), container.
package main

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
)

const agentVersion = "1"

func main() {
	debug.SetGCPercent(40) // resident memory is part of every pod's overhead; the heap is small
	switch {
	case os.Getpid() == 1:
		boot()
	case filepath.Base(os.Args[0]) == "modprobe":
		modprobe(os.Args[1:])
	case len(os.Args) == 3 && os.Args[1] == "-fd":
		serveDescriptor(os.Args[2])
	default:
		os.Stderr.WriteString("usage: agent -fd N (a connected socket); inside a guest it is process 1\n")
		os.Exit(2)
	}
}

// serveDescriptor speaks the protocol on an inherited socket: the agent outside of a guest, as tests run it.
func serveDescriptor(text string) {
	fd, err := strconv.Atoi(text)
	if err != nil {
		os.Exit(2)
	}
	agent := newAgent(os.Getenv("BULKHEAD_AGENT_STATE"))
	agent.serve(&port{fd: fd})
}
