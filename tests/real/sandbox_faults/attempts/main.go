// Attempts are system calls by which a process might leave its container. `attempts NAME` makes one and prints what came
// of it; its first word is ESCAPED where the kernel allowed it.
package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

const (
	sysKexecFileLoad = 320
	sysBpf           = 321
	sysOpenByHandle  = 304
	sysPerfEventOpen = 298
	afVsock          = 40
	hostCID          = 2
)

var attempts = map[string]func() error{
	"kexec": func() error {
		self, err := os.Open("/bin/busybox")
		if err != nil {
			return err
		}
		return call(sysKexecFileLoad, self.Fd(), self.Fd(), 0, 0, 0)
	},
	"load-module": func() error {
		return call(syscall.SYS_INIT_MODULE, uintptr(unsafe.Pointer(&make([]byte, 4096)[0])), 4096, pointer(""))
	},
	"unload-module": func() error { return call(syscall.SYS_DELETE_MODULE, pointer("virtio_console"), 0) },
	"reboot": func() error {
		return call(syscall.SYS_REBOOT, syscall.LINUX_REBOOT_MAGIC1, syscall.LINUX_REBOOT_MAGIC2, 0x4321fedc)
	},
	"io-ports":       func() error { return call(syscall.SYS_IOPL, 3) },
	"fw-cfg-port":    func() error { return call(syscall.SYS_IOPERM, 0x510, 12, 1) },
	"set-clock":      func() error { return syscall.Settimeofday(&syscall.Timeval{Sec: 1}) },
	"host-name":      func() error { return syscall.Sethostname([]byte("taken")) },
	"swap-on":        func() error { return call(syscall.SYS_SWAPON, pointer("/bin/busybox"), 0) },
	"mount":          func() error { return syscall.Mount("tmpfs", "/tmp", "tmpfs", 0, "") },
	"pivot-root":     func() error { return syscall.PivotRoot("/", "/tmp") },
	"new-mount-ns":   func() error { return syscall.Unshare(syscall.CLONE_NEWNS) },
	"open-by-handle": openByHandle,
	"enter-init-ns":  enterInit,
	"bpf-program":    func() error { return call(sysBpf, 5, uintptr(unsafe.Pointer(&make([]byte, 128)[0])), 128) },
	"perf-kernel": func() error {
		attributes := make([]byte, 128)
		attributes[4] = 128
		return call(sysPerfEventOpen, uintptr(unsafe.Pointer(&attributes[0])), ^uintptr(0), 0, ^uintptr(0), 0)
	},
	"vsock-to-host":   vsock,
	"abstract-socket": func() error { return dial(&syscall.SockaddrUnix{Name: "@" + os.Args[2]}, syscall.AF_UNIX) },
	"kernel-log":      func() error { return call(syscall.SYS_SYSLOG, 5, 0, 0) },
	"keyring": func() error {
		return call(syscall.SYS_ADD_KEY, pointer("asymmetric"), pointer("x"), pointer("y"), 1, ^uintptr(0))
	},
}

func main() {
	if len(os.Args) < 2 || attempts[os.Args[1]] == nil {
		for name := range attempts {
			fmt.Println(name)
		}
		return
	}
	if err := attempts[os.Args[1]](); err != nil {
		fmt.Println("refused:", err)
		return
	}
	fmt.Println("ESCAPED by", os.Args[1])
}

func call(number uintptr, words ...uintptr) error {
	var six [6]uintptr
	copy(six[:], words)
	_, _, errno := syscall.Syscall6(number, six[0], six[1], six[2], six[3], six[4], six[5])
	if errno != 0 {
		return errno
	}
	return nil
}

func pointer(text string) uintptr {
	bytes, err := syscall.BytePtrFromString(text)
	if err != nil {
		panic(err)
	}
	return uintptr(unsafe.Pointer(bytes))
}

// openByHandle asks for inode 2 of the root's file system, as the "shocker" exploit of early Docker did.
func openByHandle() error {
	root, err := os.Open("/")
	if err != nil {
		return err
	}
	handle := make([]byte, 16)
	handle[0], handle[4], handle[8] = 8, 1, 2
	return call(sysOpenByHandle, root.Fd(), uintptr(unsafe.Pointer(&handle[0])), syscall.O_RDONLY)
}

// enterInit would enter the namespaces of the first process that it sees, if that were the guest's.
func enterInit() error {
	for _, kind := range []string{"user", "net", "uts"} {
		space, err := os.Open("/proc/1/ns/" + kind)
		if err != nil {
			return err
		}
		const setns = 308
		if err := call(setns, space.Fd(), 0); err != nil {
			return err
		}
	}
	return nil
}

func vsock() error {
	fd, err := syscall.Socket(afVsock, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	address := [16]byte{0: afVsock, 4: 0, 5: 4, 8: hostCID}
	return call(syscall.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&address[0])), 16)
}

func dial(address syscall.Sockaddr, family int) error {
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return syscall.Connect(fd, address)
}
