"""One script a question: how fast, how much memory, how exact, and what a failure costs."""
