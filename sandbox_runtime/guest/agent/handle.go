package main

// handle carries out one request. The only list of what the agent does.
func (a *agent) handle(s *session, request any) (any, error) {
	return nil, fail("bad-request", "nothing yet")
}

func (a *agent) processes() []msgProcess { return []msgProcess{} }

type container struct{}
