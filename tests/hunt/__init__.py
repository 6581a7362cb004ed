"""The hunt: bugs put into the business on purpose, to see which ones no promise notices.

    python -m tests.hunt --only services --sample 100 --seed 1
    python -m tests.hunt --only patterns --resume hunt.json --minutes 30
    python -m tests.hunt --resume hunt.json --again
    python -m tests.hunt --list --match wrong-state
    python -m tests.hunt --show 'services/payment.py:285'

`make mutation` asks whether a unit test notices a change. The hunt asks more: does a *run* that
anybody could make notice it, by its verdict alone? A mutant is one change of one place, of a kind
that happens in this trade (`values.py`, `flow.py`): another key, half an amount, an error that is
swallowed, another state, a count that is lost, one tier off, an ack before its effect. It is judged
by the shipped scenarios at three seeds and by twenty seeds of `everything` (`runs.py`), as far as
these come by its line at all, until the first FAIL:

    killed     a promise did not hold: which, in which scenario, at which seed
    error      the lab ended with an error of its own (exit 70): noticed, but not by a promise
    timeout    a run came to no end
    survived   every verdict was as before. Either it changes nothing that matters: then it belongs
               into `equivalents.toml`, with its reason; or a promise is missing
    unreached  no run comes by its line: a scenario is missing, or a draw of `everything`

A survivor under which every history stayed the same, to the last entry, is marked so: mostly an
equivalent, or a value that no run makes a difference of. The source is changed in memory alone:
each mutant runs in a process of its own, forked before anything of the lab was imported. Nothing is
written but the file that `--json` or `--resume` names.

Not here: the adapters of real servers, which no simulated run comes by, and the lab around the
system (bus in memory, faults, third parties, checks).
"""
