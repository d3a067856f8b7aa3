"""The report: one offline HTML page that shows which samples a run kept and why."""
