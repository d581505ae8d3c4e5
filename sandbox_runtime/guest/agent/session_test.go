package main

import (
	"bytes"
	"testing"
)

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
