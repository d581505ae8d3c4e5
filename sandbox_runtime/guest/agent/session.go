package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"sync"
)

var errSessionOver = errors.New("the session with the host is over")

const maxRequests = 1024

// session is one conversation with the host, from a mark to the next mark, a hang-up or a broken frame. Containers
// outlive it: a new supervisor finds them in hello and attaches to their streams.
type session struct {
	port     *port
	agent    *agent
	mu       sync.Mutex
	over     bool
	ins      map[uint32]*inStream
	outs     map[uint32]*outStream
	requests int
	telling  sync.Mutex // events go out in the order of their numbers
	events   uint32
	gone     chan struct{} // closed when the session is over
	greeted  chan struct{} // closed when hello is written: nothing may come before it
}

// serve answers one host after another, for as long as the port lives.
func (a *agent) serve(p *port) {
	reader := newFrameReader(p)
	for {
		nonce, err := reader.mark()
		if err == nil {
			s := &session{port: p, agent: a, ins: map[uint32]*inStream{}, outs: map[uint32]*outStream{},
				gone: make(chan struct{}), greeted: make(chan struct{})}
			err = s.run(nonce, reader)
			s.close()
		}
		if err == errProtocol {
			continue
		}
		reader.forget()
		if err != io.EOF && err != io.ErrUnexpectedEOF || !p.awaitHost() {
			return
		}
	}
}

func (s *session) run(nonce []byte, reader *frameReader) error {
	answered := make(chan error, 1)
	go func() { answered <- s.greet(nonce) }() // not from here: a host that does not read must not keep us from hearing it
	for {
		greeted := s.hasGreeted()
		f, err := reader.next()
		if err == io.EOF && !greeted {
			// The driver hands out bytes of a host before its worker has marked the port as connected, and until then
			// every further read looks like a hang-up. A host has taken the greeting: from then on one is one.
			if err := <-answered; err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if !s.take(f) {
			return errProtocol
		}
	}
}

func (s *session) hasGreeted() bool {
	select {
	case <-s.greeted:
		return true
	default:
		return false
	}
}

func (s *session) greet(nonce []byte) error {
	payload, err := json.Marshal(s.agent.hello())
	if err != nil {
		panic(err)
	}
	packet := make([]byte, 0, len(wireMagic)+len(nonce)+headerBytes+len(payload))
	packet = append(append(packet, wireMagic...), nonce...)
	packet = packet[:len(packet)+headerBytes]
	putHeader(packet[len(packet)-headerBytes:], wireHello, 0, len(payload))
	if err := s.write(append(packet, payload...)); err != nil {
		return err
	}
	s.agent.join(s)
	close(s.greeted)
	return nil
}

// take acts on a frame; false if the host may not send it now.
func (s *session) take(f frame) bool {
	switch f.kind {
	case wireRequest:
		return s.request(f)
	case wireData:
		stream := s.in(f.id)
		return stream == nil || stream.arrive(f.payload)
	case wireEnd:
		if stream := s.in(f.id); stream != nil {
			stream.finish()
		}
	case wireCredit:
		if stream := s.out(f.id); stream != nil && len(f.payload) == 4 {
			stream.grant(int(binary.LittleEndian.Uint32(f.payload) & (1<<30 - 1)))
		}
	case wireStop:
		if stream := s.out(f.id); stream != nil {
			stream.stop()
		}
	case wirePing:
		go s.send(wirePong, f.id, f.payload)
	}
	return true
}

// send writes one frame, whole. Nothing of an ended session reaches the port.
func (s *session) send(kind byte, id uint32, payload []byte) error {
	select {
	case <-s.greeted:
	case <-s.gone:
		return errSessionOver
	}
	packet := make([]byte, headerBytes+len(payload))
	putHeader(packet, kind, id, len(payload))
	copy(packet[headerBytes:], payload)
	return s.write(packet)
}

func (s *session) write(packet []byte) error {
	s.port.writes.Lock()
	defer s.port.writes.Unlock()
	s.mu.Lock()
	over := s.over
	s.mu.Unlock()
	if over {
		return errSessionOver
	}
	_, err := s.port.Write(packet)
	return err
}

func (s *session) event(name string, params any) {
	s.telling.Lock()
	defer s.telling.Unlock()
	payload, err := json.Marshal(map[string]any{"event": name, "params": params})
	if err == nil {
		s.events++
		s.send(wireEvent, s.events, payload)
	}
}

func (s *session) close() {
	s.agent.leave(s)
	s.mu.Lock()
	s.over = true
	ins, outs := s.ins, s.outs
	s.ins, s.outs = nil, nil
	s.mu.Unlock()
	close(s.gone)
	for _, stream := range ins {
		stream.die()
	}
	for _, stream := range outs {
		stream.die()
	}
}

func (s *session) in(id uint32) *inStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ins[id]
}

func (s *session) out(id uint32) *outStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outs[id]
}

func (s *session) forgetIn(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ins, id)
}

func (s *session) forgetOut(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.outs, id)
}

// openStreams makes the streams that a request names, before the host's next frame is read. False if a number is
// taken or of the wrong direction.
func (s *session) openStreams(ins, outs []int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || len(s.ins)+len(s.outs)+len(ins)+len(outs) > wireMaxStreams {
		return false
	}
	for _, id := range ins {
		if id <= 0 || id >= 1<<32 || id%2 != 0 || s.ins[uint32(id)] != nil {
			return false
		}
		s.ins[uint32(id)] = newInStream(s, uint32(id))
	}
	for _, id := range outs {
		if id <= 0 || id >= 1<<32 || id%2 != 1 || s.outs[uint32(id)] != nil {
			return false
		}
		s.outs[uint32(id)] = newOutStream(s, uint32(id))
	}
	return true
}
