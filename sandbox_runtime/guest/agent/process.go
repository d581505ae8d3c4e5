package main

import (
	"sort"
	"syscall"
)

func (p *process) state() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// setStatus moves on from a status, if it is still that one: a process may have ended meanwhile.
func (p *process) setStatus(from, to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status == from {
		p.status = to
	}
}

func (p *process) ended() chan ending { return p.pipes.ended }

func (p *process) finish(end ending) {
	p.mu.Lock()
	p.status = "stopped"
	p.end = end
	p.mu.Unlock()
	close(p.over)
}

func (p *process) exited() msgExited {
	p.mu.Lock()
	defer p.mu.Unlock()
	return msgExited{p.id, p.execID, int64(p.pid), int64(p.end.code), p.end.atNs}
}

func (p *process) message(paused bool) msgProcess {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := p.status
	if paused && status == "running" {
		status = "paused"
	}
	return msgProcess{p.id, p.execID, int64(p.pid), status, int64(p.end.code), p.end.atNs}
}

func (a *agent) add(c *container) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.containers[c.id] != nil {
		return false
	}
	a.containers[c.id] = c
	return true
}

func (a *agent) drop(c *container) {
	a.mu.Lock()
	delete(a.containers, c.id)
	all := []*process{c.init}
	for _, p := range c.execs {
		all = append(all, p)
	}
	a.mu.Unlock()
	for _, p := range all {
		if p.pipes != nil {
			p.pipes.release()
		}
	}
}

func (a *agent) addExec(c *container, p *process) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.execs[p.execID] != nil {
		return false
	}
	c.execs[p.execID] = p
	return true
}

func (a *agent) dropExec(c *container, p *process) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(c.execs, p.execID)
}

// find returns a container that crun has made.
func (a *agent) find(id string) (*container, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.containers[id]; c != nil && !c.init.starting {
		return c, nil
	}
	return nil, fail("not-found", "container %q", id)
}

func (a *agent) findProcess(id, execID string) (*process, error) {
	c, err := a.find(id)
	if err != nil || execID == "" {
		if err != nil {
			return nil, err
		}
		return c.init, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := c.execs[execID]; p != nil && !p.starting {
		return p, nil
	}
	return nil, fail("not-found", "process %q of container %q", execID, id)
}

// processes lists what there is, in an order that does not change.
func (a *agent) processes() []msgProcess {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := []msgProcess{}
	for _, c := range a.containers {
		if c.init.starting {
			continue
		}
		all = append(all, c.init.message(c.paused))
		for _, p := range c.execs {
			if !p.starting {
				all = append(all, p.message(c.paused))
			}
		}
	}
	sort.Slice(all, func(i, j int) bool {
		return all[i].Id < all[j].Id || all[i].Id == all[j].Id && all[i].ExecId < all[j].ExecId
	})
	return all
}

func (a *agent) signal(params *msgSignal) error {
	c, err := a.find(params.Id)
	if err != nil {
		return err
	}
	if params.Signal < 0 || params.Signal > 64 {
		return fail("bad-request", "no signal %d", params.Signal)
	}
	number := syscall.Signal(params.Signal)
	if params.Everyone {
		return signalCgroup(c.cgroup, number)
	}
	p, err := a.findProcess(params.Id, params.ExecId)
	if err != nil {
		return err
	}
	if !a.reaper.kill(p.pid, number) {
		return fail("wrong-state", "process %d has ended", p.pid)
	}
	return nil
}

func (a *agent) resize(params *msgResize) error {
	p, err := a.findProcess(params.Id, params.ExecId)
	if err != nil {
		return err
	}
	return p.pipes.resize(params.Rows, params.Columns)
}

// attach gives a process streams of this session; those of an earlier session are gone.
func (a *agent) attach(s *session, params *msgAttach) error {
	p, err := a.findProcess(params.Id, params.ExecId)
	if err != nil {
		return err
	}
	p.pipes.attach(s, params.Stdio)
	return nil
}
