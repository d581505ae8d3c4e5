package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// awaitBlockDevice finds a disk as the host names it: `scsi:LUN`, `serial:TEXT`, or a path in /dev.
func awaitBlockDevice(source string, limit time.Duration) (string, error) {
	kind, value, _ := strings.Cut(source, ":")
	device := ""
	var look func() string
	switch {
	case kind == "scsi":
		look = func() string { return scsiDisk(value) }
	case kind == "serial":
		look = func() string { return diskOfSerial(value) }
	case strings.HasPrefix(source, "/dev/"):
		look = func() string { return source }
	default:
		return "", fail("bad-request", "no block device is named %q", source)
	}
	err := awaitDevice(limit, func() bool {
		device = look()
		_, err := os.Stat(device)
		return device != "" && err == nil
	}, source)
	return device, err
}

// scsiDisk finds a disk of the one virtio-scsi controller by its logical unit, e.g. "3" or, with a target, "0:3".
func scsiDisk(unit string) string {
	pattern := "*:0:0:" + unit
	if strings.Contains(unit, ":") {
		pattern = "*:0:" + unit
	}
	return firstDisk("/sys/class/scsi_device/" + pattern + "/device/block/*")
}

func firstDisk(pattern string) string {
	found, _ := filepath.Glob(pattern)
	if len(found) == 0 {
		return ""
	}
	return "/dev/" + filepath.Base(found[0])
}

// diskOfSerial asks virtio-blk (serial) and SCSI disks (vital product data page 0x80, SPC: four bytes of header).
func diskOfSerial(serial string) string {
	const header = 4
	disks, _ := filepath.Glob("/sys/block/*")
	for _, disk := range disks {
		found := readText(disk + "/serial")
		if page, err := os.ReadFile(disk + "/device/vpd_pg80"); err == nil && len(page) > header {
			found = strings.TrimSpace(string(page[header:]))
		}
		if found != "" && found == serial {
			return "/dev/" + filepath.Base(disk)
		}
	}
	return ""
}

// detach takes a SCSI disk out of the kernel before the host takes it out of the machine.
func detach(source string) error {
	device, err := awaitBlockDevice(source, 0)
	if err != nil {
		return fail("not-found", "%s", source)
	}
	path := "/sys/block/" + filepath.Base(device) + "/device/delete"
	return failOn(source, os.WriteFile(path, []byte("1"), 0o200))
}
