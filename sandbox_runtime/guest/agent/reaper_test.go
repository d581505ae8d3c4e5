package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// theReaper is one for all tests: two would take each other's endings.
var theReaper *reaper

func startReaper(t *testing.T) *reaper {
	t.Helper()
	const setChildSubreaper = 36
	if _, _, errno := syscall.Syscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		t.Skip("no subreaper here")
	}
	if theReaper == nil {
		theReaper = newReaper()
		go theReaper.run()
	}
	return theReaper
}

func await(t *testing.T, channel chan ending) ending {
	t.Helper()
	select {
	case end := <-channel:
		return end
	case <-time.After(20 * time.Second):
		t.Fatal("its end was not seen")
		return ending{}
	}
}

func shell(t *testing.T, r *reaper, script string) (int, chan ending) {
	t.Helper()
	pid, ended, err := r.spawn([]string{"/bin/sh", "-c", script}, &syscall.ProcAttr{Env: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	return pid, ended
}

func TestEveryStatusIsExact(t *testing.T) {
	r := startReaper(t)
	for _, code := range []int{0, 1, 2, 42, 127, 255} {
		_, ended := shell(t, r, fmt.Sprintf("exit %d", code))
		if end := await(t, ended); end.code != code {
			t.Errorf("exit %d was seen as %d", code, end.code)
		}
	}
	for _, number := range []int{9, 15, 11} {
		_, ended := shell(t, r, fmt.Sprintf("kill -%d $$", number))
		if end := await(t, ended); end.code != 128+number {
			t.Errorf("signal %d was seen as %d", number, end.code)
		}
	}
}

func TestAnOrphanThatEndsBeforeItsNumberIsKnownIsNotLost(t *testing.T) {
	r := startReaper(t)
	file := filepath.Join(t.TempDir(), "pid")
	for round := 0; round < 20; round++ {
		done := r.launch()
		_, ended := shell(t, r, fmt.Sprintf("(sleep 0.01; exit 7) & echo $! > %s; kill -9 $$", file))
		await(t, ended)
		time.Sleep(time.Duration(2*round) * time.Millisecond)
		pid, err := strconv.Atoi(readText(file))
		if err != nil {
			t.Fatal(err)
		}
		if end := await(t, r.claim(pid)); end.code != 7 {
			t.Errorf("round %d: %d", round, end.code)
		}
		done()
		if len(r.unclaimed) != 0 {
			t.Errorf("%d endings are kept", len(r.unclaimed))
		}
	}
}

func TestAProcessThatHasEndedGetsNoSignal(t *testing.T) {
	r := startReaper(t)
	pid, ended := shell(t, r, "exit 0")
	await(t, ended)
	if r.kill(pid, syscall.SIGKILL) {
		t.Error("a signal went to a number that is free")
	}
}
