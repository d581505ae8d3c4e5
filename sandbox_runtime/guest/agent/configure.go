package main

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"
	"unsafe"
)

const (
	leastEntropy     = 32
	mostEntropy      = 4096
	addEntropy       = 0x40085203 // RNDADDENTROPY
	reseedGenerator  = 0x5207     // RNDRESEEDCRNG
	clockRealtime    = 0
	sysClockSettime  = 227
	sysClockGettime  = 228
	bootIDFile       = "/proc/sys/kernel/random/boot_id"
	machineIDFile    = "/run/machine-id"
	plausibleClockNs = int64(1) << 60 // the year 2006: earlier is a mistake of the caller
)

// configure makes a restored guest differ from every other that came from the same template. Entropy comes first:
// everything random is made from it. The kernel makes its boot id when it is first read, so nothing may read it in a
// guest that is to become a template; here it is read for the first time.
func (a *agent) configure(params *msgConfigure) (any, error) {
	if len(params.Entropy) < leastEntropy || len(params.Entropy) > mostEntropy {
		return nil, fail("bad-request", "%d bytes of entropy, from %d to %d", len(params.Entropy), leastEntropy, mostEntropy)
	}
	if err := reseed(params.Entropy); err != nil {
		return nil, failOn("/dev/random", err)
	}
	step, err := setClock(params.ClockNs)
	if err != nil {
		return nil, err
	}
	if params.Hostname != "" {
		if err := syscall.Sethostname([]byte(params.Hostname)); err != nil {
			return nil, failOn("hostname", err)
		}
	}
	if params.MachineId != "" {
		if err := os.WriteFile(machineIDFile, []byte(params.MachineId+"\n"), 0o444); err != nil {
			return nil, failOn(machineIDFile, err)
		}
	}
	id := readText(bootIDFile)
	a.mu.Lock()
	a.bootID = id
	a.mu.Unlock()
	return msgConfigured{id, step}, nil
}

func reseed(entropy []byte) error {
	random, err := os.OpenFile("/dev/random", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer random.Close()
	var pool struct {
		bits, size int32
		bytes      [mostEntropy]byte
	}
	pool.size = int32(copy(pool.bytes[:], entropy))
	pool.bits = pool.size * 8
	if err := control(random, addEntropy, unsafe.Pointer(&pool)); err != nil {
		return err
	}
	return control(random, reseedGenerator, nil)
}

// setClock sets the wall clock and returns by how much that moved it.
func setClock(wantedNs int64) (int64, error) {
	if wantedNs < plausibleClockNs {
		return 0, fail("bad-request", "clock %d ns is long past", wantedNs)
	}
	step := wantedNs - time.Now().UnixNano()
	at := syscall.NsecToTimespec(wantedNs)
	if _, _, errno := syscall.Syscall(sysClockSettime, clockRealtime, uintptr(unsafe.Pointer(&at)), 0); errno != 0 {
		return 0, failOn("clock", errno)
	}
	return step, nil
}

// quiesce makes the guest small and still before its memory becomes a template. What every sandbox is going to need is
// read again after the caches are dropped: in the template it is there once for all, else once in each.
func (a *agent) quiesce() error {
	syscall.Sync()
	err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o200)
	if a.modules != nil {
		_ = a.modules.load("fs:overlay")
	}
	readPrograms()
	_ = a.crun("list")
	debug.FreeOSMemory()
	return failOn("caches", err)
}

// readPrograms brings the agent, crun and its libraries into the page cache, whole: what a start reads of them is then the
// template's. Modules are left out; few are ever loaded.
func readPrograms() {
	for _, top := range []string{"/sbin", "/usr", "/lib", "/lib64"} {
		_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil || path == imageModules:
				return fs.SkipDir
			case entry.Type().IsRegular():
				readThrough(path)
			}
			return nil
		})
	}
}

func readThrough(path string) {
	if file, err := os.Open(path); err == nil {
		_, _ = io.Copy(io.Discard, file)
		_ = file.Close()
	}
}
