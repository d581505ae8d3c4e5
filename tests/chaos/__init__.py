"""Real processes, real faults: `bulkhead serve` between a real etcd, kube-apiserver, kube-scheduler and Redis.

No kubelet and no controllers run here. Pods are objects that are created, bound and deleted; who is being deleted is
removed a moment later by a stand-in for the kubelet. Read `world` first. `python -m tests.chaos` runs everything at
full length and prints recovery times.
"""
