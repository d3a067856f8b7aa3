"""One object is damaged or gone, and the same command runs again."""
