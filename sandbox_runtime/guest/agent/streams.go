package main

import (
	"encoding/binary"
	"io"
	"sync"
)

// outStream carries bytes to the host, as far as its credit goes.
type outStream struct {
	session *session
	id      uint32
	mu      sync.Mutex
	changed *sync.Cond
	credit  int
	stopped bool // the host wants no more
	dead    bool // the session is over
	ended   bool
}

func newOutStream(s *session, id uint32) *outStream {
	stream := &outStream{session: s, id: id, credit: wireWindow}
	stream.changed = sync.NewCond(&stream.mu)
	return stream
}

// Write blocks while there is no credit. io.ErrClosedPipe: the host wants no more; errSessionOver: nobody is there.
func (o *outStream) Write(data []byte) (int, error) {
	done := 0
	for done < len(data) {
		n, err := o.reserve(len(data) - done)
		if err != nil {
			return done, err
		}
		if err := o.session.send(wireData, o.id, data[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

func (o *outStream) reserve(wanted int) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.credit == 0 && !o.dead && !o.stopped {
		o.changed.Wait()
	}
	if o.dead {
		return 0, errSessionOver
	}
	if o.stopped {
		return 0, io.ErrClosedPipe
	}
	n := wanted
	if n > wireMaxData {
		n = wireMaxData
	}
	if n > o.credit {
		n = o.credit
	}
	o.credit -= n
	return n, nil
}

func (o *outStream) grant(n int) {
	o.mu.Lock()
	if o.credit+n <= wireWindow {
		o.credit += n
	}
	o.mu.Unlock()
	o.changed.Broadcast()
}

func (o *outStream) stop() {
	o.mu.Lock()
	o.stopped = true
	o.mu.Unlock()
	o.changed.Broadcast()
}

func (o *outStream) die() {
	o.mu.Lock()
	o.dead = true
	o.mu.Unlock()
	o.changed.Broadcast()
}

// end tells the host that no more comes; further calls do nothing.
func (o *outStream) end() {
	o.mu.Lock()
	first := !o.ended
	o.ended = true
	o.mu.Unlock()
	if first {
		o.session.forgetOut(o.id)
		o.session.send(wireEnd, o.id, nil)
	}
}

// inStream holds what came from the host and was not consumed, at most a window.
type inStream struct {
	session  *session
	id       uint32
	mu       sync.Mutex
	changed  *sync.Cond
	chunks   [][]byte
	held     int // bytes that came and were not yet given back as credit
	owed     int // bytes consumed whose credit was not yet sent
	finished bool
	stopped  bool
	dead     bool
}

func newInStream(s *session, id uint32) *inStream {
	stream := &inStream{session: s, id: id}
	stream.changed = sync.NewCond(&stream.mu)
	return stream
}

// arrive takes a payload; false if the host overran the window.
func (i *inStream) arrive(payload []byte) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stopped {
		return true
	}
	i.held += len(payload)
	if i.held > wireWindow || i.finished {
		return false
	}
	if len(payload) > 0 {
		i.chunks = append(i.chunks, payload)
	}
	i.changed.Broadcast()
	return true
}

// finish notes the host's END. The session keeps the stream until its end was read or nobody wants it: all of it may have
// come before the process that reads it was made.
func (i *inStream) finish() {
	i.mu.Lock()
	i.finished = true
	stopped := i.stopped
	i.mu.Unlock()
	i.changed.Broadcast()
	if stopped {
		i.session.forgetIn(i.id)
	}
}

func (i *inStream) die() {
	i.mu.Lock()
	i.dead = true
	i.mu.Unlock()
	i.changed.Broadcast()
}

// chunk blocks for the next bytes. io.EOF: the host ended the stream; errSessionOver: it went away without.
func (i *inStream) chunk() ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for len(i.chunks) == 0 && !i.finished && !i.dead && !i.stopped {
		i.changed.Wait()
	}
	switch {
	case len(i.chunks) > 0:
		chunk := i.chunks[0]
		i.chunks = i.chunks[1:]
		return chunk, nil
	case i.finished:
		i.session.forgetIn(i.id)
		return nil, io.EOF
	case i.stopped:
		return nil, io.ErrClosedPipe
	}
	return nil, errSessionOver
}

// consumed gives the host room again, a quarter of the window at a time.
func (i *inStream) consumed(n int) {
	i.mu.Lock()
	i.owed += n
	grant := 0
	if i.owed >= wireWindow/4 && !i.finished && !i.stopped {
		grant = i.owed
		i.owed = 0
		i.held -= grant
	}
	i.mu.Unlock()
	if grant > 0 {
		var payload [4]byte
		binary.LittleEndian.PutUint32(payload[:], uint32(grant))
		i.session.send(wireCredit, i.id, payload[:])
	}
}

// stop tells the host that nobody reads any more; what comes is dropped.
func (i *inStream) stop() {
	i.mu.Lock()
	first, finished := !i.stopped && !i.finished, i.finished
	i.stopped = true
	i.chunks = nil
	i.mu.Unlock()
	i.changed.Broadcast()
	if finished {
		i.session.forgetIn(i.id)
	}
	if first {
		i.session.send(wireStop, i.id, nil)
	}
}

// Read makes the stream an io.Reader for archives.
func (i *inStream) Read(buffer []byte) (int, error) {
	i.mu.Lock()
	rest := len(i.chunks) > 0 && len(i.chunks[0]) > len(buffer)
	if rest {
		n := copy(buffer, i.chunks[0])
		i.chunks[0] = i.chunks[0][n:]
		i.mu.Unlock()
		i.consumed(n)
		return n, nil
	}
	i.mu.Unlock()
	chunk, err := i.chunk()
	if err != nil {
		return 0, err
	}
	n := copy(buffer, chunk)
	if n < len(chunk) {
		i.mu.Lock()
		i.chunks = append([][]byte{chunk[n:]}, i.chunks...)
		i.mu.Unlock()
	}
	i.consumed(n)
	return n, nil
}
