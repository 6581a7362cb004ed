"""The lab's consumer and its virtual time beside the libraries that do the same, in one run."""
