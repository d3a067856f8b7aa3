"""How a stage runs: executors, tasks, records, events, progress."""
