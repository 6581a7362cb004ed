"""Every interface that a service or a pattern may need, stated by its guarantees.

Beside them stand the two ways to wrap one: `pass_through` and `every_call`.
"""
