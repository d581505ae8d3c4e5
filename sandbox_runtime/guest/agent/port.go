package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

const portName = "bulkhead.agent"

// port is the one descriptor to the host. It is opened once: closing and reopening a virtio port around a saved state
// has been seen to hang the guest.
type port struct {
	fd     int
	virtio bool
	writes sync.Mutex
}

// openPort finds the virtio-serial port by its name; the name is in sysfs as soon as virtio_console has probed.
func openPort() (*port, error) {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil || strings.TrimSpace(string(text)) != portName {
			continue
		}
		device := "/dev/" + filepath.Base(filepath.Dir(name))
		fd, err := syscall.Open(device, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
		return &port{fd: fd, virtio: true}, err
	}
	return nil, errors.New("no virtio port named " + portName)
}

// Read blocks. A virtio port gives 0 bytes while no host is connected.
func (p *port) Read(buffer []byte) (int, error) {
	for {
		n, err := syscall.Read(p.fd, buffer)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Write blocks until the host has taken all of it. Frames of several sessions never mix: the caller holds p.writes.
func (p *port) Write(buffer []byte) (int, error) {
	done := 0
	for done < len(buffer) {
		n, err := syscall.Write(p.fd, buffer[done:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// awaitHost returns when a host is connected again, false if none can come. There is nothing to poll for on a
// disconnected port (poll reports only a hang-up), but a blocking write waits for the host: one byte, which the host
// skips on its way to the mark.
func (p *port) awaitHost() bool {
	if !p.virtio {
		return false
	}
	p.writes.Lock()
	defer p.writes.Unlock()
	_, err := p.Write([]byte{0})
	return err == nil
}
