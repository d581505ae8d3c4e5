// Load reads or writes one file or block device and prints what it did as one JSON line.
//
//	load sleep
//	load flood HOST:PORT
//	load panic
//	load PLACE read|write seq|rand direct|buffered BLOCK_BYTES SIZE_BYTES MILLISECONDS
//
// PLACE is a path, or serial:NAME for the SCSI disk of that serial number. Sequential work goes round and round over
// SIZE_BYTES, random work picks aligned blocks in it. Buffered writes end with fsync; before buffered reads the file
// is dropped from the page cache. Either way the clock stops after the last byte is where it was asked to be.
package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const alignment = 4096

type result struct {
	Bytes     int64   `json:"bytes"`
	Operation int64   `json:"operations"`
	Seconds   float64 `json:"seconds"`
}

type work struct {
	file   *os.File
	write  bool
	random bool
	block  []byte
	size   int64
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "sleep" {
		time.Sleep(1 << 62) // process 1 of a container, for others to be run beside it
	}
	if len(os.Args) == 3 && os.Args[1] == "flood" {
		flood(os.Args[2])
	}
	if len(os.Args) == 2 && os.Args[1] == "panic" {
		check(os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0o200))
	}
	if len(os.Args) != 8 {
		fail("load PLACE read|write seq|rand direct|buffered BLOCK_BYTES SIZE_BYTES MILLISECONDS")
	}
	direct := os.Args[4] == "direct"
	job := work{
		write:  os.Args[2] == "write",
		random: os.Args[3] == "rand",
		block:  aligned(int(number(os.Args[5]))),
		size:   number(os.Args[6]),
	}
	job.file = open(place(os.Args[1]), job, direct)
	done := job.run(time.Duration(number(os.Args[7])) * time.Millisecond)
	if err := json.NewEncoder(os.Stdout).Encode(done); err != nil {
		fail(err.Error())
	}
}

// flood sends datagrams, small ones since the cost is by packet, as fast as the kernel takes them.
func flood(target string) {
	connection, err := net.Dial("udp", target)
	check(err)
	for packet := make([]byte, 64); ; {
		_, _ = connection.Write(packet) // refused, since nobody listens: the packet has arrived
	}
}

// open makes the file whole first: reading holes and growing a file are other work than what is measured.
func open(path string, job work, direct bool) *os.File {
	file, err := os.OpenFile(path, os.O_RDWR|create(path), 0o600)
	check(err)
	info, err := file.Stat()
	check(err)
	if info.Mode().IsRegular() && info.Size() < job.size {
		fill(file, job.size)
	}
	check(file.Sync())
	check(file.Close())
	flags := os.O_RDWR
	if direct {
		flags |= syscall.O_DIRECT
	}
	file, err = os.OpenFile(path, flags, 0)
	check(err)
	forget(file)
	return file
}

// forget drops what the page cache has of this file, and of no other: not of this program.
func forget(file *os.File) {
	const dontNeed = 4
	_, _, _ = syscall.Syscall6(syscall.SYS_FADVISE64, file.Fd(), 0, 0, dontNeed, 0, 0)
}

func create(path string) int {
	if strings.HasPrefix(path, "/dev/") {
		return 0
	}
	return os.O_CREATE
}

func fill(file *os.File, size int64) {
	block := aligned(1 << 20)
	for at := int64(0); at < size; at += int64(len(block)) {
		_, err := file.WriteAt(block, at)
		check(err)
	}
}

func (w work) run(limit time.Duration) result {
	blocks := w.size / int64(len(w.block))
	source := rand.New(rand.NewSource(1))
	var done result
	begin := time.Now()
	for next := int64(0); time.Since(begin) < limit; next++ {
		at := next % blocks
		if w.random {
			at = source.Int63n(blocks)
		} else if next > 0 && at == 0 && !w.write {
			forget(w.file)
		}
		w.one(at * int64(len(w.block)))
		done.Operation++
	}
	if w.write {
		check(w.file.Sync())
	}
	done.Seconds = time.Since(begin).Seconds()
	done.Bytes = done.Operation * int64(len(w.block))
	return done
}

func (w work) one(at int64) {
	var err error
	if w.write {
		_, err = w.file.WriteAt(w.block, at)
	} else {
		_, err = w.file.ReadAt(w.block, at)
	}
	check(err)
}

// aligned gives memory that O_DIRECT takes, with something other than zeroes in it.
func aligned(size int) []byte {
	memory := make([]byte, size+alignment)
	skip := alignment - int(uintptr(unsafe.Pointer(&memory[0]))%alignment)
	block := memory[skip : skip+size : skip+size]
	rand.New(rand.NewSource(2)).Read(block)
	return block
}

func place(name string) string {
	serial := strings.TrimPrefix(name, "serial:")
	if serial == name {
		return name
	}
	pages, _ := filepath.Glob("/sys/block/sd*/device/vpd_pg80")
	for _, page := range pages {
		data, err := os.ReadFile(page)
		if err == nil && len(data) > 4 && string(data[4:]) == serial {
			return node(strings.Split(page, "/")[3])
		}
	}
	fail("no disk of serial " + serial)
	return ""
}

// node makes a device file of our own: a container's /dev has none of its guest's disks.
func node(disk string) string {
	text, err := os.ReadFile("/sys/block/" + disk + "/dev")
	check(err)
	var major, minor int
	_, err = fmt.Sscanf(string(text), "%d:%d", &major, &minor)
	check(err)
	path := "/dev/" + disk
	if err = syscall.Mknod(path, syscall.S_IFBLK|0o600, major<<8|minor); err != syscall.EEXIST {
		check(err)
	}
	return path
}

func number(text string) int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
