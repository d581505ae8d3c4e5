package main

import (
	"io"
	"os"
	"path/filepath"
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

// openPort finds the virtio-serial port by its name. The driver asks the host for its ports and goes on: port, name and
// device file appear later, when its worker has the host's answers, and a busy host takes its time.
func openPort() (*port, error) {
	device := ""
	err := awaitDevice(deviceWait, func() bool {
		device = portDevice()
		return device != ""
	}, "virtio port "+portName)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Open(device, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	return &port{fd: fd, virtio: true}, err
}

// portDevice is the port's file, empty while there is none.
func portDevice() string {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, name := range names {
		if readText(name) != portName {
			continue
		}
		device := "/dev/" + filepath.Base(filepath.Dir(name))
		if _, err := os.Stat(device); err == nil {
			return device
		}
	}
	return ""
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
