"""Promises: folds over a history that say whether the system kept its word. They know nothing else."""
