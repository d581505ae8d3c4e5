package main

import (
	"os"
	"path/filepath"
	"regexp"
	"sync"
)

// container is one OCI container: its bundle, its first process, and those that joined it.
type container struct {
	id     string
	bundle string
	cgroup string // below /sys/fs/cgroup
	init   *process
	execs  map[string]*process
	paused bool
	kills  int64 // OOM kills that the host was told of
}

// process is one process that the host may wait for.
type process struct {
	mu       sync.Mutex
	id       string
	execID   string
	pid      int
	status   string
	end      ending
	over     chan struct{}
	pipes    *pipes
	starting bool
}

const podCgroup = "/pod"

var nameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)

func newProcess(id, execID string) *process {
	return &process{id: id, execID: execID, status: "created", over: make(chan struct{}), starting: true}
}

// create makes a container up to the point where its first process waits to be started.
func (a *agent) create(s *session, params *msgCreate) (any, error) {
	if !nameRule.MatchString(params.Id) {
		return nil, fail("bad-request", "%q is no name of a container", params.Id)
	}
	config, err := guestConfig(params)
	if err != nil {
		return nil, err
	}
	c := &container{
		id: params.Id, bundle: filepath.Join(a.state, "c", params.Id), cgroup: podCgroup + "/" + params.Id,
		init: newProcess(params.Id, ""), execs: map[string]*process{},
	}
	if !a.add(c) {
		return nil, fail("exists", "container %s", params.Id)
	}
	if err := a.createWithCrun(s, c, config, params.Stdio); err != nil {
		a.drop(c)
		return nil, err
	}
	return msgStarted{int64(c.init.pid)}, nil
}

func (a *agent) createWithCrun(s *session, c *container, config []byte, stdio msgStdio) error {
	if err := os.MkdirAll(c.bundle, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.bundle, "config.json"), config, 0o600); err != nil {
		return err
	}
	if err := a.launch(s, c.init, stdio, c.bundle, "create", "--bundle", c.bundle, c.id); err != nil {
		_ = a.crun("delete", "--force", c.id)
		return err
	}
	a.watchMemory(c)
	go a.watch(c, c.init)
	return nil
}

func (a *agent) start(id string) error {
	c, err := a.find(id)
	if err != nil {
		return err
	}
	if status := c.init.state(); status != "created" {
		return fail("wrong-state", "container %s is %s", id, status)
	}
	if err := a.crun("start", id); err != nil {
		return err
	}
	c.init.setStatus("created", "running")
	return nil
}

// exec starts another process in a running container.
func (a *agent) exec(s *session, params *msgExec) (any, error) {
	if !nameRule.MatchString(params.ExecId) {
		return nil, fail("bad-request", "%q is no name of a process", params.ExecId)
	}
	c, err := a.find(params.Id)
	if err != nil {
		return nil, err
	}
	if status := c.init.state(); status != "running" {
		return nil, fail("wrong-state", "container %s is %s", params.Id, status)
	}
	description, err := guestProcess(params)
	if err != nil {
		return nil, err
	}
	p := newProcess(params.Id, params.ExecId)
	if !a.addExec(c, p) {
		return nil, fail("exists", "process %s of container %s", params.ExecId, params.Id)
	}
	if err := a.execWithCrun(s, c, p, description, params.Stdio); err != nil {
		a.dropExec(c, p)
		return nil, err
	}
	return msgStarted{int64(p.pid)}, nil
}

func (a *agent) execWithCrun(s *session, c *container, p *process, description []byte, stdio msgStdio) error {
	folder := filepath.Join(c.bundle, "e-"+p.execID)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "process.json")
	if err := os.WriteFile(file, description, 0o600); err != nil {
		return err
	}
	if err := a.launch(s, p, stdio, folder, "exec", "--detach", "--process", file, c.id); err != nil {
		return err
	}
	p.setStatus("created", "running")
	go a.watch(c, p)
	return nil
}

// watch tells the host how a process ended. What the kernel killed for memory is told first: whoever hears of the exit
// knows why.
func (a *agent) watch(c *container, p *process) {
	end := <-p.ended()
	if p == c.init {
		killCgroup(c.cgroup) // processes that outlive the first one, where there is no pid namespace to end them
	}
	a.tellMemory(c)
	p.finish(end)
	a.tell("exit", p.exited())
}

func (a *agent) wait(s *session, params *msgName) (any, error) {
	p, err := a.findProcess(params.Id, params.ExecId)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.over:
		return p.exited(), nil
	case <-s.gone:
		return nil, errSessionOver
	}
}

// remove forgets a process; removing a container ends whatever still runs in it.
func (a *agent) remove(params *msgName) error {
	c, err := a.find(params.Id)
	if err != nil {
		return err
	}
	if params.ExecId != "" {
		p, err := a.findProcess(params.Id, params.ExecId)
		if err != nil {
			return err
		}
		if p.state() != "stopped" {
			return fail("wrong-state", "process %s is %s", params.ExecId, p.state())
		}
		p.pipes.release()
		a.dropExec(c, p)
		return nil
	}
	if err := a.crun("delete", "--force", c.id); err != nil {
		return err
	}
	<-c.init.over
	a.drop(c)
	return os.RemoveAll(c.bundle)
}

func (a *agent) freeze(id, verb string) error {
	c, err := a.find(id)
	if err != nil {
		return err
	}
	if err := a.crun(verb, id); err != nil {
		return err
	}
	a.mu.Lock()
	c.paused = verb == "pause"
	a.mu.Unlock()
	return nil
}

func (a *agent) update(params *msgUpdate) error {
	c, err := a.find(params.Id)
	if err != nil {
		return err
	}
	file := filepath.Join(c.bundle, "resources.json")
	if err := os.WriteFile(file, []byte(params.Resources), 0o600); err != nil {
		return err
	}
	return a.crun("update", "--resources", file, c.id)
}
