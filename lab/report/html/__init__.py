"""`report.html`: pure functions from what is known of a run to the text of one page."""
