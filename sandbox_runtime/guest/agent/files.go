package main

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// putFiles unpacks an archive into a directory of the guest.
func putFiles(target string, source *inStream, atomic bool) error {
	defer source.stop()
	if err := os.MkdirAll(target, 0o755); err != nil {
		return failOn(target, err)
	}
	var err error
	if atomic {
		err = putAtomically(target, source)
	} else {
		err = unpack(target, source)
	}
	return failOn(target, err)
}

// putAtomically is what kubelet does for a ConfigMap: the files lie in a directory of their own, `..data` points to it,
// and each visible name is a link through `..data`. One rename of that link changes all of them at once, and shows as
// an event to whoever watches the directory.
func putAtomically(target string, source io.Reader) error {
	fresh, err := os.MkdirTemp(target, "..v")
	if err != nil {
		return err
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	if err := unpack(fresh, source); err != nil {
		_ = os.RemoveAll(fresh)
		return err
	}
	old, _ := os.Readlink(filepath.Join(target, "..data"))
	next := filepath.Join(target, "..data_next")
	_ = os.Remove(next)
	if err := os.Symlink(filepath.Base(fresh), next); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(target, "..data")); err != nil {
		return err
	}
	err = linkNames(target, fresh)
	if old != "" && !strings.Contains(old, "/") && old != filepath.Base(fresh) {
		_ = os.RemoveAll(filepath.Join(target, old))
	}
	return err
}

// linkNames makes the visible names those of the new files.
func linkNames(target, fresh string) error {
	wanted := map[string]bool{}
	entries, err := os.ReadDir(fresh)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		wanted[entry.Name()] = true
		link := filepath.Join(target, entry.Name())
		if there, _ := os.Readlink(link); there == "..data/"+entry.Name() {
			continue
		}
		_ = os.RemoveAll(link)
		if err := os.Symlink("..data/"+entry.Name(), link); err != nil {
			return err
		}
	}
	visible, err := os.ReadDir(target)
	if err != nil {
		return err
	}
	for _, entry := range visible {
		there, _ := os.Readlink(filepath.Join(target, entry.Name()))
		if strings.HasPrefix(there, "..data/") && !wanted[entry.Name()] {
			_ = os.Remove(filepath.Join(target, entry.Name()))
		}
	}
	return nil
}

// unpack writes an archive's files, directories and links; no name in it, and no link that a container planted in the
// directory, leads out of the directory.
func unpack(target string, source io.Reader) error {
	root, err := openFolder(target)
	if err != nil {
		return err
	}
	defer root.close()
	archive := tar.NewReader(source)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, source)
			return err
		}
		if err != nil {
			return err
		}
		if err := unpackEntry(root, header, archive); err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
}

func unpackEntry(root *folder, header *tar.Header, content io.Reader) error {
	mode := uint32(header.Mode) & 0o7777
	switch header.Typeflag {
	case tar.TypeDir:
		return root.makeFolders(header.Name, mode)
	case tar.TypeSymlink:
		return root.symlink(header.Linkname, header.Name)
	case tar.TypeReg:
		if err := root.makeFolders(filepath.Dir(header.Name), 0o755); err != nil {
			return err
		}
		file, err := root.create(header.Name, mode)
		if err != nil {
			return err
		}
		defer file.Close()
		if _, err := io.Copy(file, content); err != nil {
			return err
		}
		if err := file.Chown(header.Uid, header.Gid); err != nil && os.Getuid() == 0 {
			return err
		}
		if err := file.Chmod(os.FileMode(mode & 0o777)); err != nil {
			return err
		}
		return file.Close()
	}
	return fail("bad-request", "entries of type %q are not unpacked", string(header.Typeflag))
}

// getFiles packs a file or a directory.
func getFiles(name string, sink *outStream) error {
	info, err := os.Lstat(name)
	if err != nil {
		return failOn(name, err)
	}
	archive := tar.NewWriter(sink)
	base := filepath.Dir(name)
	if info.IsDir() {
		base = name
	}
	err = filepath.WalkDir(name, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return packEntry(archive, base, path, entry)
	})
	if err == nil {
		err = archive.Close()
	}
	sink.end()
	return failOn(name, err)
}

func packEntry(archive *tar.Writer, base, path string, entry os.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	name, err := filepath.Rel(base, path)
	if err != nil || name == "." {
		return err
	}
	link := ""
	if info.Mode()&os.ModeSymlink != 0 {
		if link, err = os.Readlink(path); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return nil // a socket: tar has no word for it
	}
	header.Name = name
	if info.IsDir() {
		header.Name += "/"
	}
	if err := archive.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.CopyN(archive, file, info.Size())
	return err
}
