package main

// handle carries out one request: the list of everything that the agent does.
func (a *agent) handle(s *session, request any) (any, error) {
	name := request.(method).name
	switch params := request.(method).params.(type) {
	case *msgConfigure:
		return a.configure(params)
	case *msgSetClock:
		step, err := setClock(params.ClockNs)
		return msgConfigured{a.bootIdentity(), step}, err
	case *msgNetwork:
		return msgNothing{}, applyNetwork(params)
	case *msgMount:
		return msgNothing{}, a.mount(params)
	case *msgUnmount:
		return msgNothing{}, unmount(params.Target)
	case *msgDetach:
		return msgNothing{}, detach(params.Source)
	case *msgCreate:
		return a.create(s, params)
	case *msgExec:
		return a.exec(s, params)
	case *msgAttach:
		return msgNothing{}, a.attach(s, params)
	case *msgSignal:
		return msgNothing{}, a.signal(params)
	case *msgResize:
		return msgNothing{}, a.resize(params)
	case *msgUpdate:
		return msgNothing{}, a.update(params)
	case *msgName:
		return a.handleNamed(s, name, params)
	case *msgList:
		return msgListed{a.processes()}, nil
	case *msgAskStats:
		return a.stats(params.Ids), nil
	case *msgAskVolume:
		return volumeStats(params.Target)
	case *msgPutFiles:
		return msgNothing{}, putFiles(params.Target, s.in(uint32(params.Stream)), params.Atomic)
	case *msgGetFiles:
		return msgNothing{}, getFiles(params.Path, s.out(uint32(params.Stream)))
	case *msgQuiesce:
		return msgNothing{}, a.quiesce()
	case *msgShutdown:
		return afterwards{msgNothing{}, powerOff}, a.shutdown(params.GraceMs)
	}
	return nil, fail("bad-request", "method %q is not carried out", name)
}

func (a *agent) handleNamed(s *session, name string, params *msgName) (any, error) {
	switch name {
	case "start":
		return msgNothing{}, a.start(params.Id)
	case "wait":
		return a.wait(s, params)
	case "remove":
		return msgNothing{}, a.remove(params)
	case "pause", "resume":
		return msgNothing{}, a.freeze(params.Id, name)
	}
	return nil, fail("bad-request", "method %q is not carried out", name)
}

// afterwards is an answer with something to do once it is sent.
type afterwards struct {
	answer any
	do     func()
}
