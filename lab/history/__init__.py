"""What happened in a run: the one record that checks, page, logs and reports are made from."""
