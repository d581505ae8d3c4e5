package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// failure is an answer: a code of the protocol and a text for people.
type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (f *failure) Error() string { return f.Code + ": " + f.Message }

func fail(code, format string, arguments ...any) error {
	return &failure{code, fmt.Sprintf(format, arguments...)}
}

// request decodes in order of arrival, opens the streams, and answers from a goroutine of its own: a request that waits
// holds up no other.
func (s *session) request(f frame) bool {
	params, err := decodeRequest(f.payload)
	if err != nil {
		go s.answer(f.id, nil, err)
		return true
	}
	ins, outs := streamsOf(params)
	if !s.openStreams(ins, outs) {
		return false
	}
	s.mu.Lock()
	s.requests++
	busy := s.requests > maxRequests
	s.mu.Unlock()
	go func() {
		var result any
		err := fail("busy", "more than %d requests at once", maxRequests)
		if !busy {
			result, err = s.carryOut(params)
		}
		if err != nil {
			s.abandon(ins, outs)
		}
		s.mu.Lock()
		s.requests--
		s.mu.Unlock()
		then, more := result.(afterwards)
		if more {
			result = then.answer
		}
		s.answer(f.id, result, err)
		if more && err == nil {
			then.do()
		}
	}()
	return true
}

// carryOut makes sure that a fault in one request is the failure of that request.
func (s *session) carryOut(params any) (result any, err error) {
	defer func() {
		if trouble := recover(); trouble != nil {
			err = fail("failed", "the agent is at fault: %v", trouble)
		}
	}()
	return s.agent.carry(s, params)
}

func decodeRequest(payload []byte) (any, error) {
	var envelope struct {
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	}
	if err := json.Unmarshal(payload, &envelope); err != nil {
		return nil, fail("bad-request", "%v", err)
	}
	empty := requests[envelope.Method]
	if empty == nil {
		return nil, fail("bad-request", "no method %q", envelope.Method)
	}
	params := empty()
	decoder := json.NewDecoder(bytes.NewReader(envelope.Params))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(params); err != nil {
		return nil, fail("bad-request", "%s: %v", envelope.Method, err)
	}
	return method{envelope.Method, params}, nil
}

// method is a decoded request; several methods share one type of parameters.
type method struct {
	name   string
	params any
}

// streamsOf lists the streams that a request opens.
func streamsOf(request any) (ins, outs []int64) {
	switch params := request.(method).params.(type) {
	case *msgCreate:
		return params.Stdio.streams()
	case *msgExec:
		return params.Stdio.streams()
	case *msgAttach:
		return params.Stdio.streams()
	case *msgPutFiles:
		return []int64{params.Stream}, nil
	case *msgGetFiles:
		return nil, []int64{params.Stream}
	}
	return nil, nil
}

func (io msgStdio) streams() (ins, outs []int64) {
	if io.Stdin != 0 {
		ins = append(ins, io.Stdin)
	}
	for _, id := range []int64{io.Stdout, io.Stderr} {
		if id != 0 {
			outs = append(outs, id)
		}
	}
	return ins, outs
}

// abandon closes the streams of a request that failed, so that both ends forget them.
func (s *session) abandon(ins, outs []int64) {
	for _, id := range ins {
		if stream := s.in(uint32(id)); stream != nil {
			stream.stop()
		}
	}
	for _, id := range outs {
		if stream := s.out(uint32(id)); stream != nil {
			stream.end()
		}
	}
}

func (s *session) answer(id uint32, result any, err error) {
	kind := byte(wireAnswer)
	if err != nil {
		kind = wireFailure
		if _, known := err.(*failure); !known {
			err = fail("failed", "%v", err)
		}
		result = err
	}
	payload, err := json.Marshal(result)
	if err == nil && len(payload) <= wireMaxControl {
		s.send(kind, id, payload)
		return
	}
	s.send(wireFailure, id, []byte(`{"code":"failed","message":"the answer cannot be sent"}`))
}
