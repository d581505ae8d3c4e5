package main

import (
	"os"
	"syscall"
	"time"
)

const deviceWait = 30 * time.Second

// awaitPath waits until a path is there, woken by the kernel's device events.
func awaitPath(path string, limit time.Duration) error {
	return awaitDevice(limit, func() bool {
		_, err := os.Stat(path)
		return err == nil
	}, path)
}

// awaitDevice waits until found says so, looking again at each device event.
func awaitDevice(limit time.Duration, found func() bool, name string) error {
	if found() {
		return nil
	}
	events, err := openDeviceEvents()
	if err != nil {
		return err
	}
	defer syscall.Close(events)
	deadline := time.Now().Add(limit)
	buffer := make([]byte, 8192)
	for !found() {
		left := time.Until(deadline)
		if left <= 0 {
			return fail("timeout", "%s did not appear within %v", name, limit)
		}
		timeout := syscall.NsecToTimeval(left.Nanoseconds())
		if err := syscall.SetsockoptTimeval(events, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &timeout); err != nil {
			return err
		}
		// Any outcome means: look again. A lost event (ENOBUFS) is one more reason to.
		_, _ = syscall.Read(events, buffer)
	}
	return nil
}

func openDeviceEvents() (int, error) {
	const kernelEvents = 1
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, syscall.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return -1, err
	}
	err = syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: kernelEvents})
	if err != nil {
		syscall.Close(fd)
	}
	return fd, err
}
