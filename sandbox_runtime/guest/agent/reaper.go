package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// ending is how a process ended: exit code, or 128 + signal, and when.
type ending struct {
	code int
	atNs int64
}

// reaper waits for every child: those started here, and the orphans that fall to process 1. Only it calls wait4, so no
// status is ever taken by the wrong hand.
type reaper struct {
	mu        sync.Mutex
	waiting   map[int]chan ending
	unclaimed map[int]ending // ended while crun was still telling us their number
	launching int
	signals   chan os.Signal
}

func newReaper() *reaper {
	r := &reaper{waiting: map[int]chan ending{}, unclaimed: map[int]ending{}, signals: make(chan os.Signal, 1)}
	signal.Notify(r.signals, syscall.SIGCHLD)
	return r
}

func (r *reaper) run() {
	for range r.signals {
		r.reap()
	}
}

func (r *reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		end := ending{status.ExitStatus(), nowNs()}
		if status.Signaled() {
			end.code = 128 + int(status.Signal())
		}
		if channel := r.waiting[pid]; channel != nil {
			delete(r.waiting, pid)
			channel <- end
		} else if r.launching > 0 {
			r.unclaimed[pid] = end
		}
	}
}

// spawn starts a process; the lock keeps its end from being reaped before anybody waits for it.
func (r *reaper) spawn(argv []string, attributes *syscall.ProcAttr) (int, chan ending, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(argv[0], argv, attributes)
	if err != nil {
		return 0, nil, err
	}
	channel := make(chan ending, 1)
	r.waiting[pid] = channel
	return pid, channel, nil
}

// launch brackets the time in which a grandchild may end before its number is known.
func (r *reaper) launch() (done func()) {
	r.mu.Lock()
	r.launching++
	r.mu.Unlock()
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.launching--; r.launching == 0 {
			r.unclaimed = map[int]ending{}
		}
	}
}

// claim waits for an orphan by its number; within launch, even if it ended already.
func (r *reaper) claim(pid int) chan ending {
	r.mu.Lock()
	defer r.mu.Unlock()
	channel := make(chan ending, 1)
	if end, ended := r.unclaimed[pid]; ended {
		delete(r.unclaimed, pid)
		channel <- end
	} else {
		r.waiting[pid] = channel
	}
	return channel
}

// kill sends a signal to a process that somebody still waits for; under the lock its number cannot be another's.
func (r *reaper) kill(pid int, number syscall.Signal) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting[pid] != nil && syscall.Kill(pid, number) == nil
}
