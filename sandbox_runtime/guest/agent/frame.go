package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

const headerBytes = 12

var errProtocol = errors.New("the host broke the protocol")

type frame struct {
	kind    byte
	id      uint32
	payload []byte
}

// largest is what a frame of this kind may carry when it comes from the host, -1 for a kind that may not come.
func largest(kind byte) int {
	switch kind {
	case wireRequest:
		return wireMaxControl
	case wireData:
		return wireMaxData
	case wireCredit:
		return 4
	case wireEnd, wireStop:
		return 0
	case wirePing:
		return wirePingBytes
	}
	return -1
}

func putHeader(buffer []byte, kind byte, id uint32, length int) {
	buffer[0] = kind
	buffer[1] = wireVersion
	buffer[2], buffer[3] = 0, 0
	binary.LittleEndian.PutUint32(buffer[4:], id)
	binary.LittleEndian.PutUint32(buffer[8:], uint32(length))
}

// frameReader cuts what comes from the port into frames, and finds the mark that begins a session.
type frameReader struct {
	source io.Reader
	buffer []byte
	begin  int
	end    int
}

func newFrameReader(source io.Reader) *frameReader {
	return &frameReader{source: source, buffer: make([]byte, 64*1024)}
}

// forget drops what is left of a host that went away.
func (r *frameReader) forget() { r.begin, r.end = 0, 0 }

// mark skips to the mark of a session and returns its nonce.
func (r *frameReader) mark() ([]byte, error) {
	want := len(wireMagic) + wireNonceBytes
	for {
		unread := r.buffer[r.begin:r.end]
		if at := bytes.Index(unread, wireMagic); at >= 0 {
			r.begin += at
			if r.end-r.begin >= want {
				nonce := append([]byte(nil), r.buffer[r.begin+len(wireMagic):r.begin+want]...)
				r.begin += want
				return nonce, nil
			}
		} else if len(unread) >= len(wireMagic) {
			r.begin = r.end - len(wireMagic) + 1
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// next returns one frame. Its payload is the caller's. After errProtocol the offending bytes are still there, so that
// mark can look for a session that begins among them.
func (r *frameReader) next() (frame, error) {
	for r.end-r.begin < headerBytes {
		if err := r.fill(); err != nil {
			return frame{}, err
		}
	}
	header := r.buffer[r.begin:]
	kind, id, length := header[0], binary.LittleEndian.Uint32(header[4:]), binary.LittleEndian.Uint32(header[8:])
	limit := largest(kind)
	if header[1] != wireVersion || header[2]|header[3] != 0 || limit < 0 || int64(length) > int64(limit) {
		return frame{}, errProtocol
	}
	r.begin += headerBytes
	payload := make([]byte, length)
	have := copy(payload, r.buffer[r.begin:r.end])
	r.begin += have
	_, err := io.ReadFull(r.source, payload[have:])
	return frame{kind, id, payload}, err
}

// fill reads more behind what is unread.
func (r *frameReader) fill() error {
	if r.begin > 0 {
		copy(r.buffer, r.buffer[r.begin:r.end])
		r.end -= r.begin
		r.begin = 0
	}
	n, err := r.source.Read(r.buffer[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}
