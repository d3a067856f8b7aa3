"""What every room shares: errors, uids, schemas, formatting, exact ranks, graphs as arrays. No I/O, no Ray."""
