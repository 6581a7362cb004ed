"""Promises: folds over a history that say whether the system kept its word; they know no more."""
