"""Many small runs for one question: which seeds break a promise, which plan is the smallest.

A question is cut into tasks, a task is a pure function of what it is sent, and their answers are
taken in the order of the tasks: so the result is the same on one core, on many, and on a cluster.
Not here: one run (`lab.wiring`), and how a result looks (`lab.cli`).
"""
