"""The report: one offline HTML page that says what a run kept and why."""
