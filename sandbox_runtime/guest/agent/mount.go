package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var mountFlags = map[string]uintptr{
	"ro": syscall.MS_RDONLY, "nosuid": syscall.MS_NOSUID, "nodev": syscall.MS_NODEV, "noexec": syscall.MS_NOEXEC,
	"sync": syscall.MS_SYNCHRONOUS, "dirsync": syscall.MS_DIRSYNC, "noatime": syscall.MS_NOATIME,
	"nodiratime": syscall.MS_NODIRATIME, "relatime": syscall.MS_RELATIME, "strictatime": syscall.MS_STRICTATIME,
	"mand": syscall.MS_MANDLOCK, "rbind": syscall.MS_REC,
	"rw": 0, "suid": 0, "dev": 0, "exec": 0, "async": 0, "atime": 0, "bind": 0, "defaults": 0, "_netdev": 0,
}

const maxDeviceWait = 5 * time.Minute

func (a *agent) mount(params *msgMount) error {
	if !filepath.IsAbs(params.Target) {
		return fail("bad-request", "target %q is not absolute", params.Target)
	}
	flags, data := mountOptions(params.Options)
	var err error
	switch params.Kind {
	case "bind":
		err = mountBind(params, flags)
	case "erofs", "ext4", "xfs":
		err = a.mountDevice(params, flags, data)
	case "overlay", "tmpfs", "nfs", "nfs4", "virtiofs", "9p":
		err = a.mountNamed(params, flags, data)
	default:
		err = fail("bad-request", "no kind of mount %q", params.Kind)
	}
	if err == nil && params.FsGroup >= 0 {
		err = giveToGroup(params.Target, int(params.FsGroup))
	}
	return err
}

func mountOptions(options []string) (uintptr, string) {
	var flags uintptr
	data := []string{}
	for _, option := range options {
		if flag, known := mountFlags[option]; known {
			flags |= flag
		} else {
			data = append(data, option)
		}
	}
	return flags, strings.Join(data, ",")
}

func (a *agent) mountDevice(params *msgMount, flags uintptr, data string) error {
	wait := time.Duration(params.WaitMs) * time.Millisecond
	if wait > maxDeviceWait || wait < 0 {
		wait = maxDeviceWait
	}
	device, err := awaitBlockDevice(params.Source, wait)
	if err != nil {
		return err
	}
	named := *params
	named.Source = device
	return a.mountNamed(&named, flags, data)
}

func (a *agent) mountNamed(params *msgMount, flags uintptr, data string) error {
	if a.modules != nil {
		if err := a.modules.load("fs:" + params.Kind); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(params.Target, 0o755); err != nil {
		return err
	}
	if strings.HasPrefix(params.Kind, "nfs") {
		data = nfsOptions(params.Source, data)
	}
	return failOn(params.Target, syscall.Mount(params.Source, params.Target, params.Kind, flags, data))
}

// nfsOptions adds what mount.nfs works out: the kernel wants the server's address as an option.
func nfsOptions(source, data string) string {
	host, _, _ := strings.Cut(source, ":/")
	if !strings.Contains(data, "addr=") {
		data = strings.TrimPrefix(data+",addr="+strings.Trim(host, "[]"), ",")
	}
	return data
}

// mountBind makes a part of one tree visible elsewhere. The part is resolved by the kernel as if the source were its
// root: a link that a container planted in a volume leads nowhere else.
func mountBind(params *msgMount, flags uintptr) error {
	source, err := openWithin(params.Source, params.Subpath)
	if err != nil {
		return failOn(params.Source+"/"+params.Subpath, err)
	}
	defer syscall.Close(source)
	path := "/proc/self/fd/" + strconv.Itoa(source)
	if err := makeTarget(path, params.Target); err != nil {
		return err
	}
	recursive := flags & syscall.MS_REC
	if err := syscall.Mount(path, params.Target, "", syscall.MS_BIND|recursive, ""); err != nil {
		return failOn(params.Target, err)
	}
	if flags &^= syscall.MS_REC; flags == 0 {
		return nil
	}
	return failOn(params.Target, syscall.Mount("", params.Target, "", syscall.MS_BIND|syscall.MS_REMOUNT|flags, ""))
}

func makeTarget(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return file.Close()
}

// unmount writes out and lets go; what is not mounted is no error, so that it can be asked for twice.
func unmount(target string) error {
	err := syscall.Unmount(target, 0)
	if err == syscall.EINVAL || err == syscall.ENOENT {
		return nil
	}
	return failOn(target, err)
}

// giveToGroup is Kubernetes' fsGroup: the group owns everything, may write, and new files inherit it.
func giveToGroup(root string, group int) error {
	return filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil || info.Mode()&os.ModeSymlink != 0 {
			return os.Lchown(path, -1, group)
		}
		if err := os.Lchown(path, -1, group); err != nil {
			return err
		}
		mode := info.Mode()&(os.ModePerm|os.ModeSticky|os.ModeSetuid) | 0o660
		if info.IsDir() {
			mode |= os.ModeSetgid | 0o110
		}
		return os.Chmod(path, mode)
	})
}

// failOn turns an error of the kernel into an answer that names what it was about.
func failOn(what string, err error) error {
	if err == nil {
		return nil
	}
	code := "failed"
	if errors.Is(err, os.ErrNotExist) {
		code = "not-found"
	}
	return fail(code, "%s", fmt.Sprintf("%s: %v", what, err))
}
