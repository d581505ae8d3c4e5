package main

import (
	"bytes"
	"os"
	"syscall"
	"testing"
	"time"
)

// conversation feeds bytes to an agent as a host would, waits until it said something, hangs up, and returns everything
// that it said. The agent carries out nothing: what it is fed may be a request to mount or to power off.
func conversation(t testing.TB, said []byte, awaited string) []byte {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a := testAgent(t)
	done := make(chan struct{})
	go func() {
		a.serve(&port{fd: pair[1]})
		_ = syscall.Shutdown(pair[1], syscall.SHUT_WR)
		close(done)
	}()
	host := os.NewFile(uintptr(pair[0]), "host")
	defer host.Close()
	defer syscall.Close(pair[1])
	heard := make(chan struct{})
	var all []byte
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		buffer, told := make([]byte, 4096), false
		for {
			n, err := host.Read(buffer)
			all = append(all, buffer[:n]...)
			if !told && bytes.Contains(all, []byte(awaited)) {
				told = true
				close(heard)
			}
			if err != nil {
				return
			}
		}
	}()
	_, _ = host.Write(said)
	if awaited != "" {
		awaitClosed(t, heard, "the agent does not say "+awaited)
	}
	_ = syscall.Shutdown(pair[0], syscall.SHUT_WR)
	awaitClosed(t, done, "the agent does not see that the host went away")
	awaitClosed(t, finished, "the agent's end is not closed")
	return all
}

func awaitClosed(t testing.TB, channel chan struct{}, otherwise string) {
	t.Helper()
	select {
	case <-channel:
	case <-time.After(20 * time.Second):
		t.Fatal(otherwise)
	}
}

func testAgent(t testing.TB) *agent {
	t.Helper()
	a := &agent{state: t.TempDir(), containers: map[string]*container{}}
	a.carry = func(_ *session, request any) (any, error) {
		if request.(method).name == "list" {
			return msgListed{[]msgProcess{}}, nil
		}
		return nil, fail("bad-request", "not in a test")
	}
	return a
}

func packet(kind byte, id uint32, payload string) []byte {
	made := make([]byte, headerBytes, headerBytes+len(payload))
	putHeader(made, kind, id, len(payload))
	return append(made, payload...)
}

func marked(parts ...[]byte) []byte {
	said := append(append([]byte{}, wireMagic...), make([]byte, wireNonceBytes)...)
	return append(said, bytes.Join(parts, nil)...)
}
