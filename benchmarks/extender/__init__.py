"""What the extender costs kube-scheduler: per call, and in pods bound per second of a real control plane."""
