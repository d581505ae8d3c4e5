package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	crunPath      = "/usr/bin/crun"
	maxCrunReport = 2000
)

func (a *agent) crunCommand(log string, arguments ...string) []string {
	head := []string{crunPath, "--root", filepath.Join(a.state, "crun"), "--cgroup-manager", "cgroupfs", "--log", log}
	return append(head, arguments...)
}

// crun runs a command of crun that starts nothing.
func (a *agent) crun(arguments ...string) error {
	log, err := os.CreateTemp(a.state, "crun-*.log")
	if err != nil {
		return err
	}
	log.Close()
	defer os.Remove(log.Name())
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	_, ended, err := a.reaper.spawn(a.crunCommand(log.Name(), arguments...), &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{null.Fd(), null.Fd(), null.Fd()},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	if end := <-ended; end.code != 0 {
		return crunFailed(log.Name(), end)
	}
	return nil
}

// launch runs the command of crun that makes a process, with the process's standard streams, and learns its number.
func (a *agent) launch(s *session, p *process, stdio msgStdio, folder, verb string, arguments ...string) error {
	pipes, err := newPipes(folder, stdio)
	if err != nil {
		return err
	}
	log, pidFile := filepath.Join(folder, "log"), filepath.Join(folder, "pid")
	options := []string{verb, "--pid-file", pidFile}
	if stdio.Terminal {
		options = append(options, "--console-socket", pipes.consolePath)
	}
	done := a.reaper.launch()
	defer done()
	_, ended, err := a.reaper.spawn(a.crunCommand(log, append(options, arguments...)...), &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: pipes.childFiles(), Sys: &syscall.SysProcAttr{Setsid: true},
	})
	pipes.closeChildFiles()
	if err != nil {
		pipes.close()
		return err
	}
	if end := <-ended; end.code != 0 {
		pipes.close()
		return crunFailed(log, end)
	}
	pid, err := strconv.Atoi(readText(pidFile))
	if err == nil && stdio.Terminal {
		err = pipes.receiveTerminal(stdio)
	}
	if err != nil {
		pipes.close()
		return fail("start-failed", "crun: %v", err)
	}
	pipes.ended = a.reaper.claim(pid)
	pipes.run()
	pipes.attach(s, stdio)
	a.mu.Lock()
	p.pid, p.pipes, p.starting = pid, pipes, false
	a.mu.Unlock()
	return nil
}

func crunFailed(log string, end ending) error {
	report := readText(log)
	if len(report) > maxCrunReport {
		report = report[len(report)-maxCrunReport:]
	}
	lines := strings.Split(report, "\n")
	reason := lines[len(lines)-1]
	if reason == "" {
		reason = "crun ended with " + strconv.Itoa(end.code)
	}
	return fail("start-failed", "%s", reason)
}
