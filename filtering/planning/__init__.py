"""What a run would take: rows, memory, disk, hours."""
