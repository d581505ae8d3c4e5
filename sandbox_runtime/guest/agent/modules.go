package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

// modules are the kernel's parts that the image carries. The index, one line per key, is written with the image:
//
//	boot: virtio_ring.ko virtio.ko …          loaded first, from the initramfs
//	virtio:2: virtio_blk.ko                    when a virtio device of this type is there
//	fs:nfs4: sunrpc.ko lockd.ko nfs.ko         when such a filesystem is mounted
//	name:nf_tables: …                          when the kernel asks for it (modprobe)
type modules struct {
	mu        sync.Mutex
	directory string
	index     map[string][]string
	loaded    map[string]bool
	initramfs bool
}

const (
	bootModules  = "/modules"
	imageModules = "/lib/modules"
)

func loadBootModules() (*modules, error) {
	m := &modules{directory: bootModules, loaded: map[string]bool{}}
	if _, err := os.Stat(bootModules); err == nil {
		m.initramfs = true
	} else {
		m.directory = imageModules
	}
	if err := m.readIndex(); err != nil {
		return m, err
	}
	err := m.load("boot")
	m.directory = imageModules
	return m, err
}

func (m *modules) readIndex() error {
	text, err := os.ReadFile(m.directory + "/index")
	if os.IsNotExist(err) {
		return nil // a kernel without modules
	}
	m.index = map[string][]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if key, files, found := strings.Cut(line, ": "); found {
			m.index[key] = strings.Fields(files)
		}
	}
	return err
}

// sealIfNone closes the door that a kernel with everything built in does not need.
func (m *modules) sealIfNone() {
	for _, files := range m.index {
		if len(files) > 0 {
			return
		}
	}
	_ = os.WriteFile("/proc/sys/kernel/modules_disabled", []byte("1"), 0o644)
}

// loadForDevices loads the drivers of the virtio devices that are there.
func (m *modules) loadForDevices() error {
	if err := m.readIndex(); err != nil {
		return err
	}
	devices, _ := filepath.Glob("/sys/bus/virtio/devices/*/device")
	for _, device := range devices {
		var number int
		if _, err := fmt.Sscanf(readText(device), "0x%x", &number); err != nil {
			continue
		}
		if err := m.load(fmt.Sprintf("virtio:%d", number)); err != nil {
			return err
		}
	}
	return nil
}

// load loads the files of a key, dependencies first; an unknown key is none of our modules and no error.
func (m *modules) load(key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, file := range m.index[key] {
		if m.loaded[file] {
			continue
		}
		if err := insertModule(filepath.Join(m.directory, file)); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		m.loaded[file] = true
	}
	return nil
}

func insertModule(path string) error {
	const finitModule = 313
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	noParameters := []byte{0}
	_, _, errno := syscall.Syscall(finitModule, file.Fd(), uintptr(unsafe.Pointer(&noParameters[0])), 0)
	if errno != 0 && errno != syscall.EEXIST {
		return errno
	}
	return nil
}

// modprobe is what the kernel runs when it wants a module by name: the agent again, as a process of its own.
func modprobe(arguments []string) {
	m := &modules{directory: imageModules, loaded: map[string]bool{}}
	if len(arguments) == 0 || m.readIndex() != nil {
		os.Exit(1)
	}
	name := strings.ReplaceAll(arguments[len(arguments)-1], "-", "_")
	if m.index["name:"+name] == nil || m.load("name:"+name) != nil {
		os.Exit(1)
	}
}
