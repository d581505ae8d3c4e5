// A guest that was taken over: compiled from the agent's own sources with this file instead of its main.go. It boots as
// the agent does and then speaks to the host as nobody should. The kernel command line's `hostile=` says how.
package main

import (
	"encoding/binary"
	"encoding/json"
	"math/rand"
	"os"
	"strings"
	"time"
)

const agentVersion = "hostile"

const (
	mReq, mAnswer, mFailure, mEvent, mData, mCredit, mEnd, mPong, mHello = 1, 2, 3, 4, 5, 6, 7, 10, 11
	goodHello                                                            = `{"version":1,"agent":"1","kernel":"k","boot_id":"b","phases":[],"processes":[]}`
)

// before is what a guest says instead of hello; after, what it says once the session has begun; started, once a
// container was started.
var before = map[string]func(*port){
	"silent":     func(*port) { sleepForever() },
	"garbage":    noise,
	"power-off":  func(*port) { powerOff() },
	"giant":      func(p *port) { p.header(mHello, 0, 0xffffffff); noise(p) },
	"not-json":   func(p *port) { p.frame(mHello, 0, "\x00\xff\xfe{") },
	"deep-json":  func(p *port) { p.frame(mHello, 0, strings.Repeat("[", 1<<19)) },
	"wrong-type": func(p *port) { p.frame(mHello, 0, `{"version":"x","agent":[],"kernel":{},"phases":7}`) },
	"future":     func(p *port) { p.frame(mHello, 0, strings.Replace(goodHello, ":1,", ":99999999999999999999,", 1)) },
	"long-names": func(p *port) { p.frame(mHello, 0, `{"version":1,"agent":"`+strings.Repeat("\x1b[2J", 200000)+`"}`) },
	"no-hello":   func(p *port) { p.frame(mEvent, 1, `{"event":"exit","params":{}}`) },
}

var after = map[string]func(*port){
	"mute":            func(*port) { sleepForever() },
	"twice":           func(p *port) { p.frame(mHello, 0, goodHello) },
	"strange-answer":  func(p *port) { p.frame(mAnswer, 77, `{}`) },
	"wrong-answer":    func(p *port) { p.frame(mAnswer, 1, `{"boot_id":{"a":[1,2]},"clock_step_ns":"no"}`) },
	"strange-stream":  func(p *port) { p.frame(mData, 99999, "data") },
	"strange-credit":  func(p *port) { p.frame(mCredit, 2, "\xff\xff\xff\xff") },
	"strange-kind":    func(p *port) { p.frame(200, 0, "") },
	"pongs":           func(p *port) { p.forever(mPong, 0, "12345678") },
	"events":          func(p *port) { p.events(`{"event":"oom","params":{"id":"main","kills":1}}`) },
	"unknown-event":   func(p *port) { p.frame(mEvent, 1, `{"event":"surrender","params":{}}`) },
	"half-a-frame":    func(p *port) { p.header(mAnswer, 1, 1000); sleepForever() },
	"garbage-later":   noise,
	"power-off-later": func(*port) { powerOff() },
	"escape-codes":    func(p *port) { p.frame(mFailure, 1, `{"code":"failed","message":"\u001b]0;owned\u0007\u001b[2J"}`) },
}

var started = map[string]func(*port){
	"run-events": func(p *port) {
		p.events(`{"event":"exit","params":{"id":"nobody","exec_id":"","pid":1,"code":0,"exited_ns":1}}`)
	},
	"run-bad-code": func(p *port) {
		p.frame(mEvent, 1, `{"event":"exit","params":{"id":"main","exec_id":"","pid":1,"code":-99999999999,"exited_ns":1}}`)
	},
	"run-overflow":  func(p *port) { p.forever(mData, 1, strings.Repeat("x", 30000)) },
	"run-garbage":   noise,
	"run-panic":     func(*port) { os.Exit(1) },
	"run-power-off": func(*port) { powerOff() },
}

func main() {
	must("proc", mountAll(firstMounts))
	modules, err := loadBootModules()
	must("boot modules", err)
	if modules.initramfs {
		must("guest image", switchRoot())
	}
	must("mounts", mountAll(secondMounts))
	must("device modules", modules.loadForDevices())
	p, err := openPort()
	must("port", err)
	mode := os.Getenv("hostile")
	mark := make([]byte, 32)
	for got := 0; got < len(mark); {
		n, _ := p.Read(mark[got:])
		got += n
	}
	_, _ = p.Write(mark)
	if speak := before[mode]; speak != nil {
		speak(p)
		sleepForever()
	}
	p.frame(mHello, 0, goodHello)
	if speak := after[mode]; speak != nil {
		p.next()
		speak(p)
		sleepForever()
	}
	p.obey()
	started[mode](p)
	sleepForever()
}

// obey answers as an honest agent would, until a container was started.
func (p *port) obey() {
	for {
		kind, number, payload := p.next()
		if kind != mReq {
			continue
		}
		var request struct{ Method string }
		_ = json.Unmarshal(payload, &request)
		switch request.Method {
		case "configure":
			p.frame(mAnswer, number, `{"boot_id":"b","clock_step_ns":0}`)
		case "create":
			p.frame(mAnswer, number, `{"pid":1}`)
		default:
			p.frame(mAnswer, number, `{}`)
		}
		if request.Method == "start" {
			return
		}
	}
}

func (p *port) next() (byte, uint32, []byte) {
	header := p.exactly(12)
	return header[0], binary.LittleEndian.Uint32(header[4:]), p.exactly(int(binary.LittleEndian.Uint32(header[8:])))
}

func (p *port) exactly(size int) []byte {
	buffer := make([]byte, size)
	for got := 0; got < size; {
		n, err := p.Read(buffer[got:])
		if err != nil {
			time.Sleep(time.Millisecond)
		}
		got += n
	}
	return buffer
}

func (p *port) header(kind byte, number, length uint32) {
	header := make([]byte, 12)
	header[0], header[1] = kind, 1
	binary.LittleEndian.PutUint32(header[4:], number)
	binary.LittleEndian.PutUint32(header[8:], length)
	_, _ = p.Write(header)
}

func (p *port) frame(kind byte, number uint32, payload string) {
	p.header(kind, number, uint32(len(payload)))
	for at := 0; at < len(payload); at += 30000 {
		end := at + 30000
		if end > len(payload) {
			end = len(payload)
		}
		_, _ = p.Write([]byte(payload[at:end]))
	}
}

func (p *port) forever(kind byte, number uint32, payload string) {
	for {
		p.frame(kind, number, payload)
	}
}

func (p *port) events(payload string) {
	for number := uint32(1); ; number++ {
		p.frame(mEvent, number, payload)
	}
}

func noise(p *port) {
	buffer := make([]byte, 30000)
	source := rand.New(rand.NewSource(1))
	for {
		source.Read(buffer)
		_, _ = p.Write(buffer)
	}
}

func sleepForever() {
	for {
		time.Sleep(time.Hour)
	}
}
