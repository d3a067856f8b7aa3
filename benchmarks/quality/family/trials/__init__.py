"""What was tried for the default method, and left out."""
