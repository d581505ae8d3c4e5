"""The service that kube-scheduler calls for every pod: what it asks, what it is told, and the server between them."""
