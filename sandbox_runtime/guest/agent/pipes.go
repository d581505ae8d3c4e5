package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"unsafe"
)

// pipes are the standard streams of one process: pipes, or a terminal. They live as long as the process; the streams to
// the host come and go with sessions. While no host is attached nothing is read, and a process that writes waits.
type pipes struct {
	mu          sync.Mutex
	changed     *sync.Cond
	child       []*os.File // stdin, stdout, stderr as the process has them
	input       *os.File   // we write, it reads; nil: /dev/null
	outputs     [2]*os.File
	terminal    *os.File
	consolePath string
	console     int
	stdin       *inStream
	sinks       [2]*outStream
	closed      bool // at once
	released    bool // as soon as what was written is delivered, or nobody is there to take it
	ended       chan ending
}

// newPipes makes what crun is to be started with. A stream that the host did not name is /dev/null.
func newPipes(folder string, stdio msgStdio) (*pipes, error) {
	p := &pipes{child: make([]*os.File, 3), console: -1}
	p.changed = sync.NewCond(&p.mu)
	var err error
	if stdio.Terminal {
		err = p.listenForTerminal(filepath.Join(folder, "tty"))
	} else {
		err = p.makePipes(stdio)
	}
	for at := range p.child {
		if p.child[at] == nil && err == nil {
			p.child[at], err = os.OpenFile("/dev/null", os.O_RDWR, 0)
		}
	}
	if err != nil {
		p.closeChildFiles()
		p.close()
	}
	return p, err
}

func (p *pipes) makePipes(stdio msgStdio) (err error) {
	if stdio.Stdin != 0 {
		if p.child[0], p.input, err = os.Pipe(); err != nil {
			return err
		}
	}
	for at, id := range []int64{stdio.Stdout, stdio.Stderr} {
		if id == 0 {
			continue
		}
		if p.outputs[at], p.child[at+1], err = os.Pipe(); err != nil {
			return err
		}
	}
	return nil
}

func (p *pipes) childFiles() []uintptr {
	files := make([]uintptr, len(p.child))
	for at, file := range p.child {
		files[at] = file.Fd()
	}
	return files
}

func (p *pipes) closeChildFiles() {
	for _, file := range p.child {
		if file != nil {
			file.Close()
		}
	}
}

// run starts the pumps.
func (p *pipes) run() {
	if p.input != nil {
		go p.pumpIn()
	}
	for at := range p.outputs {
		if p.outputs[at] != nil {
			go p.pumpOut(at)
		}
	}
}

// attach gives the pumps streams of a session.
func (p *pipes) attach(s *session, stdio msgStdio) {
	var orphans []*outStream
	stdin := s.in(uint32(stdio.Stdin))
	p.mu.Lock()
	if stdin != nil && p.input != nil && !p.closed {
		p.stdin, stdin = stdin, nil
	}
	for at, id := range []int64{stdio.Stdout, stdio.Stderr} {
		sink := s.out(uint32(id))
		if sink != nil && p.outputs[at] != nil && !p.closed {
			p.sinks[at], sink = sink, nil
		}
		orphans = append(orphans, sink)
	}
	p.mu.Unlock()
	p.changed.Broadcast()
	for _, sink := range orphans {
		if sink != nil {
			sink.end()
		}
	}
	if stdin != nil {
		stdin.stop()
	}
}

// pumpIn carries stdin until the host ends it or the process closes it.
func (p *pipes) pumpIn() {
	for {
		stream := p.awaitInput()
		if stream == nil {
			return
		}
		chunk, err := stream.chunk()
		switch {
		case err == nil:
			if _, err := p.input.Write(chunk); err != nil {
				stream.stop()
				p.endInput()
				return
			}
			stream.consumed(len(chunk))
		case err == io.EOF:
			p.endInput()
			return
		default:
			p.forgetInput(stream)
		}
	}
}

// endInput is end of file: a closed pipe, or ^D at the beginning of a line of a terminal.
func (p *pipes) endInput() {
	if p.terminal == nil {
		p.input.Close()
		return
	}
	const endOfTransmission = 4
	_, _ = p.terminal.Write([]byte{endOfTransmission})
}

// pumpOut carries stdout or stderr until every writer has closed it. Nothing that was written is lost: the stream ends
// only after the last byte, however long ago the process ended.
func (p *pipes) pumpOut(at int) {
	source := p.outputs[at]
	buffer := make([]byte, wireMaxData)
	for {
		if !p.awaitSink(at) {
			return
		}
		n, err := source.Read(buffer)
		if n > 0 && !p.deliver(at, buffer[:n]) {
			break
		}
		if err != nil && !errors.Is(err, syscall.EINTR) { // EOF; EIO: the terminal's last user is gone
			break
		}
	}
	source.Close()
	p.mu.Lock()
	sink := p.sinks[at]
	p.outputs[at] = nil
	p.mu.Unlock()
	if sink != nil {
		sink.end()
	}
}

// deliver writes to whatever session is there, until it is all taken. False: the host wants no more.
func (p *pipes) deliver(at int, data []byte) bool {
	for len(data) > 0 {
		if !p.awaitSink(at) {
			return false
		}
		p.mu.Lock()
		sink := p.sinks[at]
		p.mu.Unlock()
		n, err := sink.Write(data)
		data = data[n:]
		if err == io.ErrClosedPipe {
			return false
		}
		if err != nil {
			p.forgetSink(at, sink)
		}
	}
	return true
}

func (p *pipes) awaitSink(at int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.sinks[at] == nil && !p.closed && !p.released {
		p.changed.Wait()
	}
	return !p.closed && p.sinks[at] != nil
}

func (p *pipes) awaitInput() *inStream {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stdin == nil && !p.closed && !p.released {
		p.changed.Wait()
	}
	if p.closed || p.released {
		return nil
	}
	return p.stdin
}

func (p *pipes) forgetSink(at int, sink *outStream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sinks[at] == sink {
		p.sinks[at] = nil
	}
}

func (p *pipes) forgetInput(stream *inStream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stdin == stream {
		p.stdin = nil
	}
}

// release lets go of a removed process. Output that it left in the pipes still goes to the host.
func (p *pipes) release() {
	p.mu.Lock()
	p.released = true
	stdin, input := p.stdin, p.input
	p.mu.Unlock()
	p.changed.Broadcast()
	if stdin != nil {
		stdin.stop()
	}
	if input != nil && p.terminal == nil {
		input.Close()
	}
	if p.console >= 0 {
		syscall.Close(p.console)
	}
}

// close ends everything at once: the process was never made.
func (p *pipes) close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.closed = true
	files := []*os.File{p.input, p.outputs[0], p.outputs[1], p.terminal}
	sinks, stdin := p.sinks, p.stdin
	console := p.console
	p.console = -1
	p.mu.Unlock()
	p.changed.Broadcast()
	for _, file := range files {
		if file != nil {
			file.Close()
		}
	}
	if console >= 0 {
		syscall.Close(console)
	}
	for _, sink := range sinks {
		if sink != nil {
			sink.stop()
			sink.end()
		}
	}
	if stdin != nil {
		stdin.stop()
	}
}

func (p *pipes) resize(rows, columns int64) error {
	if p.terminal == nil {
		return fail("wrong-state", "the process has no terminal")
	}
	size := [4]uint16{uint16(rows), uint16(columns)}
	return control(p.terminal, syscall.TIOCSWINSZ, unsafe.Pointer(&size))
}

// control is ioctl(2) without taking the file out of the poller, as Fd would.
func control(file *os.File, request uintptr, argument unsafe.Pointer) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(argument))
	})
	if err == nil && errno != 0 {
		return errno
	}
	return err
}
