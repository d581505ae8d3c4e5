"""The API server: its objects, one lean connection to it, list and watch, and the few writes that Bulkhead makes."""
