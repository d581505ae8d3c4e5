"""A real Kubernetes control plane on loopback, for benchmarks and tests: it comes, is measured, and leaves nothing."""
