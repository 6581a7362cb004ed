"""What is known of the tokens of a process, of retries whose cause is known and of others."""

from dataclasses import replace

import pytest

from lab.checks.retry_budget import Buckets
from tests.kit.histories import CONTRACT

POLICY = replace(CONTRACT, budget_tokens=3, budget_refill=0.1, workers=1)


@pytest.mark.parametrize(
    "failed",
    [("customers",), (), ("customers", "warehouse")],
    ids=["its cause", "at its own deadline", "one of two"],
)
def test_a_token_that_may_be_of_a_bucket_is_not_known_to_be_left(failed: tuple[str, ...]) -> None:
    buckets = Buckets(POLICY)
    for _ in range(2):
        buckets.take(failed)

    assert not buckets.had_one({"customers"})


def test_a_token_of_another_bucket_leaves_this_one_as_it_is() -> None:
    buckets = Buckets(POLICY)
    for _ in range(2):
        buckets.take({"warehouse"})

    assert buckets.had_one({"customers"})
    assert not buckets.had_one({"customers", "warehouse"})


def test_what_succeeds_fills_buckets_that_nobody_has_named_yet() -> None:
    buckets = Buckets(POLICY)
    for _ in range(2):
        buckets.take(())
    for _ in range(10):
        buckets.succeeded()

    assert buckets.had_one({"customers"})
