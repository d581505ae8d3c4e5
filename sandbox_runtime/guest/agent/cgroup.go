package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const cgroupRoot = "/sys/fs/cgroup"

// enableControllers hands every controller that the kernel has to the children of a cgroup.
func enableControllers(path string) error {
	for _, controller := range strings.Fields(readText(path + "/cgroup.controllers")) {
		// One by one: a controller that refuses (rdma, misc) does not take the others with it.
		_ = os.WriteFile(path+"/cgroup.subtree_control", []byte("+"+controller), 0o644)
	}
	return nil
}

// makePodCgroup makes the parent of every container's cgroup, with fewer processes than the kernel can have: after a fork
// bomb the agent must still be able to start crun.
func makePodCgroup() error {
	const reserved = 128
	path := cgroupRoot + podCgroup
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	if most := number("/proc/sys/kernel/threads-max") - reserved; most > reserved {
		_ = os.WriteFile(path+"/pids.max", []byte(strconv.FormatInt(most, 10)), 0o644)
	}
	return enableControllers(path)
}

// killCgroup kills every process of a cgroup and of those below it; a cgroup that is gone is no error.
func killCgroup(path string) {
	_ = os.WriteFile(cgroupRoot+path+"/cgroup.kill", []byte("1"), 0o644)
}

func signalCgroup(path string, number syscall.Signal) error {
	if number == syscall.SIGKILL {
		killCgroup(path)
		return nil
	}
	var processes []string
	err := filepath.WalkDir(cgroupRoot+path, func(folder string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			processes = append(processes, strings.Fields(readText(folder+"/cgroup.procs"))...)
		}
		return nil
	})
	for _, text := range processes {
		if pid, err := strconv.Atoi(text); err == nil {
			_ = syscall.Kill(pid, number)
		}
	}
	return err
}

// counters reads a file of lines "name value".
func counters(path string) map[string]int64 {
	found := map[string]int64{}
	for _, line := range strings.Split(readText(path), "\n") {
		if name, value, split := strings.Cut(line, " "); split {
			found[name], _ = strconv.ParseInt(value, 10, 64)
		}
	}
	return found
}

// number reads a file with one number; "max" and a missing file are 0.
func number(path string) int64 {
	value, _ := strconv.ParseInt(readText(path), 10, 64)
	return value
}
