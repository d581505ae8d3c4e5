"""The wire between the host and the agent in the guest: described once, here; spoken by `channel` and by the Go agent.

Three layers, each readable alone, none of which opens a socket:

1. `frames`    bytes <-> frames: a 12-byte header, limits, and a mark that finds the start of a session in noise.
2. `link`      frames <-> requests, events and streams with credit; the host's half, which believes nothing.
3. `messages`  what requests, answers and events carry, as typed values; `codec` turns them into JSON and back.

`golang` writes the agent's `wire_gen.go` from layers 1 and 3, and a test holds the two together.
"""
