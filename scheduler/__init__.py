"""Places pods: cluster state, one decision at a time, replay of traces, packing and capacity."""
