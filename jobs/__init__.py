"""What is submitted or deployed: entry points, configurations, Kubernetes, cron; installed as `filtering.jobs`."""
