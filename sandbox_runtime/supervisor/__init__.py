"""One process per sandbox: owns its machine, its channel to the agent, and a control socket for commands.

`sandbox` runs the decisions of `lifecycle.step`; `host` has the resources, `processes` the streams, `control` the
socket. Only the standard library is imported: this process lives as long as the sandbox and is part of its overhead.
"""
