package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
)

const (
	imageDevice = "/dev/vda" // the guest image is the first virtio-blk device
	noFlags     = 0
	nodevExec   = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
)

// boot takes the guest from the kernel's hand-over to the first word with the host. It never returns.
func boot() {
	var done phases
	done.mark("agent")
	must("proc", mountAll(firstMounts))
	modules, err := loadBootModules()
	must("boot modules", err)
	done.mark("boot-modules")
	if modules.initramfs {
		must("guest image", switchRoot())
		done.mark("image")
	}
	must("mounts", mountAll(secondMounts))
	must("cgroup", enableControllers("/sys/fs/cgroup"))
	must("pod cgroup", makePodCgroup())
	must("device modules", modules.loadForDevices())
	modules.sealIfNone()
	done.mark("device-modules")
	setUpEnvironment()
	p, err := openPort()
	must("port", err)
	done.mark("port")
	a := newAgent("")
	a.phases.done = done.done
	a.modules = modules
	go a.watchSignals()
	a.serve(p)
	fatal("port", fmt.Errorf("gone"))
}

// mountPoint is one of the kernel's own filesystems.
type mountPoint struct {
	kind, target string
	flags        uintptr
	data         string
}

var firstMounts = []mountPoint{
	{"proc", "/proc", nodevExec, ""},
	{"sysfs", "/sys", nodevExec, ""},
	{"devtmpfs", "/dev", syscall.MS_NOSUID | syscall.MS_NOEXEC, "mode=0755"},
}

var secondMounts = []mountPoint{
	{"tmpfs", "/run", syscall.MS_NOSUID | syscall.MS_NODEV, "mode=0755"},
	{"tmpfs", "/tmp", syscall.MS_NOSUID | syscall.MS_NODEV, "mode=1777"},
	{"devpts", "/dev/pts", syscall.MS_NOSUID | syscall.MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5"},
	{"tmpfs", "/dev/shm", nodevExec, "mode=1777"},
	{"mqueue", "/dev/mqueue", nodevExec, ""},
	{"cgroup2", "/sys/fs/cgroup", nodevExec, ""},
}

func mountAll(points []mountPoint) error {
	for _, point := range points {
		_ = os.MkdirAll(point.target, 0o755) // on the read-only image every target is there already
		err := syscall.Mount(point.kind, point.target, point.kind, point.flags, point.data)
		if err != nil && err != syscall.EBUSY { // EBUSY: the kernel mounted devtmpfs itself
			return fmt.Errorf("%s: %w", point.target, err)
		}
	}
	return nil
}

// switchRoot leaves the initramfs for the image: pivot_root, which crun needs, cannot leave an initramfs.
func switchRoot() error {
	const root = "/newroot"
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := awaitPath(imageDevice, deviceWait); err != nil {
		return err
	}
	if err := syscall.Mount(imageDevice, root, "erofs", syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	for _, point := range firstMounts {
		if err := syscall.Mount(point.target, root+point.target, "", syscall.MS_MOVE, ""); err != nil {
			return err
		}
	}
	freeInitramfs()
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := syscall.Mount(".", "/", "", syscall.MS_MOVE, ""); err != nil {
		return err
	}
	if err := syscall.Chroot("."); err != nil {
		return err
	}
	return os.Chdir("/")
}

// freeInitramfs gives back the memory of files that are not needed once their modules are loaded.
func freeInitramfs() {
	_ = os.RemoveAll("/modules")
	_ = os.Remove("/init")
}

func setUpEnvironment() {
	syscall.Umask(0o022)
	_ = os.Setenv("PATH", "/usr/bin:/usr/sbin:/bin:/sbin")
	_ = os.WriteFile("/proc/sys/kernel/modprobe", []byte("/sbin/modprobe"), 0o644)
	_ = os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0o644)
	_ = os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 2147483647"), 0o644)
	_ = os.WriteFile("/proc/sys/kernel/hung_task_timeout_secs", []byte("0"), 0o644)
	_ = upLoopback()
}

func must(what string, err error) {
	if err != nil {
		fatal(what, err)
	}
}

// fatal says why on the console and powers off: a guest that cannot serve must not look as if it could.
func fatal(what string, err error) {
	say(fmt.Sprintf("cannot go on: %s: %v", what, err))
	powerOff()
	runtime.Goexit()
}

// say writes to the kernel's log, at the one level that a quiet console shows too.
func say(text string) {
	if log, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
		_, _ = log.WriteString("<0>bulkhead-agent: " + text + "\n")
		_ = log.Close()
	}
}
