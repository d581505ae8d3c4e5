package main

import (
	"bytes"
	"io"
	"os"
	"syscall"
	"testing"
)

// pieces is a port that gives these one after another; an empty one is a read that looks like a hang-up.
type pieces [][]byte

func (p *pieces) Read(buffer []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	piece := (*p)[0]
	*p = (*p)[1:]
	if len(piece) == 0 {
		return 0, io.EOF
	}
	return copy(buffer, piece), nil
}

func TestAHangUpBeforeTheGreetingIsOneOfTheHostBefore(t *testing.T) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	host := os.NewFile(uintptr(pair[0]), "host")
	defer host.Close()
	defer syscall.Close(pair[1])
	reader := newFrameReader(&pieces{marked(), nil, packet(wirePing, 0, "12345678")})
	nonce, err := reader.mark()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{port: &port{fd: pair[1]}, agent: testAgent(t), gone: make(chan struct{}), greeted: make(chan struct{})}
	if err := s.run(nonce, reader); err != io.EOF {
		t.Errorf("the session ends with %v", err)
	}
	pong := packet(wirePong, 0, "12345678")
	for all, buffer := []byte{}, make([]byte, 4096); !bytes.HasSuffix(all, pong); {
		n, err := host.Read(buffer)
		if err != nil {
			t.Fatalf("%v after %q", err, all)
		}
		all = append(all, buffer[:n]...)
	}
}

func TestANewMarkBeginsANewSession(t *testing.T) {
	list := packet(wireRequest, 1, `{"method":"list","params":{}}`)
	for name, between := range map[string][]byte{
		"nothing":          nil,
		"a frame":          packet(wirePing, 0, "12345678"),
		"a broken frame":   {99, 99, 99},
		"half of a header": packet(wireEnd, 1, "")[:5],
		"filler":           append(packet(wireData, 2, "")[:8], make([]byte, wireMaxControl)...),
	} {
		answer := conversation(t, append(marked(between), marked(list)...), `{"processes":[]}`)
		if !bytes.Contains(answer, []byte(`"version":1`)) {
			t.Errorf("%s: no hello in %q", name, answer)
		}
	}
}

func TestTheMarkComesBackBeforeAnythingElse(t *testing.T) {
	answer := conversation(t, marked(packet(wirePing, 0, "12345678")), `"version":1`)
	if !bytes.HasPrefix(answer, marked()) {
		t.Errorf("the answer begins with %q", answer)
	}
}

func TestWhatTheHostMayNotSendEndsTheSession(t *testing.T) {
	for name, said := range map[string][]byte{
		"a stream of the wrong direction": packet(wireRequest, 1, `{"method":"get_files","params":{"path":"/","stream":2}}`),
		"an answer":                       packet(wireAnswer, 1, "{}"),
		"too long":                        packet(wireEnd, 1, "x"),
	} {
		s := &session{agent: testAgent(t), ins: map[uint32]*inStream{}, outs: map[uint32]*outStream{}}
		reader := newFrameReader(bytes.NewReader(said))
		f, err := reader.next()
		if err == nil && s.take(f) {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestAHostThatOverrunsTheWindowIsCutOff(t *testing.T) {
	stream := newInStream(nil, 2)
	for taken := 0; taken+wireMaxData <= wireWindow; taken += wireMaxData {
		if !stream.arrive(make([]byte, wireMaxData)) {
			t.Fatal("refused within the window")
		}
	}
	if stream.arrive(make([]byte, wireMaxData)) {
		t.Error("took more than the window")
	}
}

func TestCreditBeyondTheWindowIsIgnored(t *testing.T) {
	stream := newOutStream(nil, 1)
	stream.grant(1 << 29)
	if stream.credit != wireWindow {
		t.Errorf("credit %d", stream.credit)
	}
}
