"""What goes wrong on purpose: the words for it, the plan of a run, and one injector per family."""
