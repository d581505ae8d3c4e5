"""What happens to a sandbox and in which order: `step` decides, `journal` remembers, `recover` cleans up."""
