"""Studies and measurements: not needed to train, test or deploy."""
