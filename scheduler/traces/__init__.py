"""Reads clusters and workloads from files: openb CSV, or what `kubectl get nodes,pods -A -o json|yaml` prints."""
