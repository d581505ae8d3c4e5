package main

import (
	"encoding/binary"
	"sync"
	"syscall"
)

// memoryWatch hears of every change of a container's memory.events: the kernel notifies inotify watchers of cgroup files.
type memoryWatch struct {
	agent   *agent
	fd      int
	mu      sync.Mutex
	watched map[int32]*container
}

func newMemoryWatch(a *agent) *memoryWatch {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC)
	if err != nil {
		fd = -1
	}
	w := &memoryWatch{agent: a, fd: fd, watched: map[int32]*container{}}
	go w.run()
	return w
}

func (a *agent) watchMemory(c *container) {
	w := a.memory
	w.mu.Lock()
	defer w.mu.Unlock()
	mark, err := syscall.InotifyAddWatch(w.fd, cgroupRoot+c.cgroup+"/memory.events", syscall.IN_MODIFY)
	if err == nil {
		w.watched[int32(mark)] = c
	}
}

func (w *memoryWatch) run() {
	buffer := make([]byte, 4096)
	for {
		n, err := syscall.Read(w.fd, buffer)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return
		}
		for at := 0; at+syscall.SizeofInotifyEvent <= n; {
			mark := int32(binary.LittleEndian.Uint32(buffer[at:]))
			mask := binary.LittleEndian.Uint32(buffer[at+4:])
			at += syscall.SizeofInotifyEvent + int(binary.LittleEndian.Uint32(buffer[at+12:]))
			w.mu.Lock()
			c := w.watched[mark]
			if mask&syscall.IN_IGNORED != 0 { // the cgroup is gone
				delete(w.watched, mark)
			}
			w.mu.Unlock()
			if c != nil {
				w.agent.tellMemory(c)
			}
		}
	}
}

// tellMemory reports OOM kills that were not reported yet.
func (a *agent) tellMemory(c *container) {
	kills := counters(cgroupRoot + c.cgroup + "/memory.events")["oom_kill"]
	a.mu.Lock()
	more := kills > c.kills
	if more {
		c.kills = kills
	}
	a.mu.Unlock()
	if more {
		a.tell("oom", msgOutOfMemory{c.id, kills})
	}
}
