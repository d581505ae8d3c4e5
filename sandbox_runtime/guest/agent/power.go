package main

import (
	"os"
	"os/signal"
	"syscall"
)

// powerOff ends the guest. With reboot=t on the command line a restart is a triple fault, which ends QEMU (-no-reboot).
func powerOff() {
	syscall.Sync()
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
}

// watchSignals obeys what the kernel sends to process 1 (Ctrl-Alt-Del, power button by ACPI tools).
func (a *agent) watchSignals() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGPWR)
	<-signals
	powerOff()
}
