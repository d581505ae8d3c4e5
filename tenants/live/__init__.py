"""Where objects live: an API server or a directory of YAML. All I/O of plan, apply, import and audit."""
