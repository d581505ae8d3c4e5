"""`bulkhead serve`: the live scheduler beside kube-scheduler. Read `guide` first: from a gated pod to an open gate."""
