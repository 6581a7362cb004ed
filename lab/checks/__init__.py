"""Promises, and the folds over a history that show whether the system kept them."""
