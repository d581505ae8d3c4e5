package main

import (
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// agent is everything that outlives a session.
type agent struct {
	state      string // directory for bundles, pid files and logs
	reaper     *reaper
	phases     phases
	mu         sync.Mutex
	current    *session
	containers map[string]*container
	bootID     string // empty until configure: the kernel makes it when it is first read, see there
	memory     *memoryWatch
	modules    *modules
	carry      func(*session, any) (any, error) // handle, but for tests that must not touch this machine
}

func newAgent(state string) *agent {
	if state == "" {
		state = "/run/bulkhead"
	}
	a := &agent{state: state, reaper: newReaper(), containers: map[string]*container{}}
	a.carry = a.handle
	a.memory = newMemoryWatch(a)
	go a.reaper.run()
	return a
}

// join makes a session the one that hears of events.
func (a *agent) join(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.mu.Lock()
	over := s.over
	s.mu.Unlock()
	if !over {
		a.current = s
	}
}

func (a *agent) leave(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current == s {
		a.current = nil
	}
}

func (a *agent) tell(event string, params any) {
	a.mu.Lock()
	s := a.current
	a.mu.Unlock()
	if s != nil {
		s.event(event, params)
	}
}

func (a *agent) hello() msgHello {
	return msgHello{
		Version: wireVersion, Agent: agentVersion, Kernel: kernelRelease(), BootId: a.bootIdentity(),
		Phases: a.phases.list(), Processes: a.processes(),
	}
}

func (a *agent) bootIdentity() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bootID
}

func kernelRelease() string { return readText("/proc/sys/kernel/osrelease") }

func readText(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func nowNs() int64 { return time.Now().UnixNano() }

// sinceBoot is the guest's own clock, which a restore does not move.
func sinceBoot() time.Duration {
	const clockMonotonic = 1
	var at syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&at)), 0)
	return time.Duration(at.Nano())
}

// phases are the steps of the start, for the host's timings.
type phases struct {
	mu   sync.Mutex
	done []msgPhase
}

func (p *phases) mark(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = append(p.done, msgPhase{name, sinceBoot().Microseconds()})
}

func (p *phases) list() []msgPhase {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]msgPhase{}, p.done...)
}
