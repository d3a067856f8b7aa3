"""Objects on any filesystem: whole writes, streams, retries, leases."""
