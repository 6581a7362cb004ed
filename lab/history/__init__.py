"""The record of a run: checks, page, logs and reports are all made from it."""
