"""What a person sees on a terminal: a run as it goes, a plan, a status, the methods."""
