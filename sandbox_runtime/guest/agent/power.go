package main

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const longestGrace = time.Minute

// powerOff ends the guest. With reboot=t on the command line a restart is a triple fault, which ends QEMU (-no-reboot).
func powerOff() {
	if os.Getpid() != 1 {
		os.Exit(0) // outside of a guest: not this machine
	}
	syscall.Sync()
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
}

// watchSignals obeys what the kernel sends to process 1.
func (a *agent) watchSignals() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGPWR)
	<-signals
	powerOff()
}

// shutdown ends every container, gently first, and leaves every disk clean.
func (a *agent) shutdown(graceMs int64) error {
	a.mu.Lock()
	running := []*container{}
	for _, c := range a.containers {
		if !c.init.starting {
			running = append(running, c)
		}
	}
	a.mu.Unlock()
	grace := time.Duration(graceMs) * time.Millisecond
	if grace > longestGrace || grace < 0 {
		grace = longestGrace
	}
	end := time.After(grace)
	for _, c := range running {
		a.reaper.kill(c.init.pid, syscall.SIGTERM)
	}
	for _, c := range running {
		select {
		case <-c.init.over:
		case <-end:
			end = time.After(0)
		}
		killCgroup(c.cgroup)
		<-c.init.over
	}
	if os.Getpid() == 1 {
		unmountDisks()
		syscall.Sync()
	}
	return nil
}

// unmountDisks lets go of everything that was mounted on request, last first.
func unmountDisks() {
	lines := strings.Split(readText("/proc/self/mounts"), "\n")
	for at := len(lines) - 1; at >= 0; at-- {
		fields := strings.Fields(lines[at])
		if len(fields) < 3 || !strings.HasPrefix(fields[1], "/run/") {
			continue
		}
		if syscall.Unmount(fields[1], 0) != nil {
			_ = syscall.Mount("", fields[1], "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
		}
	}
}
