"""Training: which of a run's kept samples a PyTorch loop over webdataset shows in an epoch, and with what weight."""
