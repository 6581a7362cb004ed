"""What every test shares: the settings of Hypothesis, and nothing else.

Not here: fixtures. A test builds what it needs with a `make_<thing>` of its own area.
"""

from hypothesis import HealthCheck, settings

# A slow machine is no bug: examples have no deadline of their own, a test has pytest's.
# Derandomised, because a red test must be red again; new examples come from the seeds of a soak.
settings.register_profile(
    "lab",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("lab")
