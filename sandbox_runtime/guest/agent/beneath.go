package main

import (
	"os"
	"path"
	"syscall"
	"unsafe"
)

// openHow is struct open_how of openat2(2).
type openHow struct{ flags, mode, resolve uint64 }

const (
	sysOpenat2    = 437
	resolveInRoot = 0x10 // links and ".." are resolved as if the directory were "/"
	openPath      = 0x200000
)

// openAt opens a path below a directory; nothing on the way leads out of it.
func openAt(directory int, name string, flags int, mode uint64) (int, error) {
	text, err := syscall.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	how := openHow{uint64(flags | syscall.O_CLOEXEC), mode, resolveInRoot}
	for {
		fd, _, errno := syscall.Syscall6(sysOpenat2, uintptr(directory), uintptr(unsafe.Pointer(text)),
			uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
		if errno == syscall.EINTR || errno == syscall.EAGAIN {
			continue
		}
		if errno != 0 {
			return -1, errno
		}
		return int(fd), nil
	}
}

// openWithin opens a path (not for reading) below root; an empty path is root itself.
func openWithin(root, name string) (int, error) {
	directory, err := syscall.Open(root, openPath|syscall.O_CLOEXEC, 0)
	if err != nil || name == "" {
		return directory, err
	}
	defer syscall.Close(directory)
	return openAt(directory, name, openPath, 0)
}

// folder is a directory by its descriptor, in which names are resolved without ever leaving it.
type folder struct{ fd int }

func openFolder(root string) (*folder, error) {
	fd, err := syscall.Open(root, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &folder{fd}, nil
}

func (f *folder) close() { syscall.Close(f.fd) }

// makeFolders makes the directories of a path.
func (f *folder) makeFolders(name string, mode uint32) error {
	name = path.Clean("/" + name)
	if name == "/" {
		return nil
	}
	if err := f.makeFolders(path.Dir(name), 0o755); err != nil {
		return err
	}
	parent, err := f.parent(name)
	if err != nil {
		return err
	}
	defer syscall.Close(parent)
	if err := syscall.Mkdirat(parent, path.Base(name), mode); err != nil && err != syscall.EEXIST {
		return err
	}
	return nil
}

func (f *folder) parent(name string) (int, error) {
	return openAt(f.fd, path.Dir(path.Clean("/"+name)), syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
}

// create opens a fresh file for writing; whatever had its name is unlinked first.
func (f *folder) create(name string, mode uint32) (*os.File, error) {
	parent, err := f.parent(name)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(parent)
	base := path.Base(path.Clean("/" + name))
	_ = syscall.Unlinkat(parent, base)
	flags := syscall.O_WRONLY | syscall.O_CREAT | syscall.O_EXCL | syscall.O_NOFOLLOW
	fd, err := openAt(parent, base, flags, uint64(mode))
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (f *folder) symlink(target, name string) error {
	parent, err := f.parent(name)
	if err != nil {
		return err
	}
	defer syscall.Close(parent)
	base := path.Base(path.Clean("/" + name))
	_ = syscall.Unlinkat(parent, base)
	from, err := syscall.BytePtrFromString(target)
	if err != nil {
		return err
	}
	to, err := syscall.BytePtrFromString(base)
	if err != nil {
		return err
	}
	_, _, errno := syscall.Syscall(syscall.SYS_SYMLINKAT, uintptr(unsafe.Pointer(from)), uintptr(parent),
		uintptr(unsafe.Pointer(to)))
	if errno != 0 {
		return errno
	}
	return nil
}
