"""Owners of partitions by what members tell, in bounded memory."""

from lab.checks.partition_owners import REMEMBERED, Owners, Shared, Stranger
from lab.history.calls import OwnedEntry


def told(process: str, epoch: int, *places: str) -> OwnedEntry:
    return OwnedEntry("owned", 0, process, "", "payment", epoch, places)


def test_a_partition_that_two_members_own_under_one_epoch_is_shared() -> None:
    owners = Owners()
    owners.own(told("payment-1", 3, "orders/0", "orders/1"))
    owners.own(told("payment-2", 3, "orders/1"))
    owners.own(told("payment-2", 4, "orders/0"))

    assert owners.shared == (Shared("payment", "orders/1", 3, "payment-1", "payment-2"),)


def test_a_member_that_is_told_of_its_partitions_again_shares_them_with_nobody() -> None:
    owners = Owners()
    for _ in range(2):
        owners.own(told("payment-1", 3, "orders/0"))

    assert owners.shared == ()


def test_a_member_with_a_record_of_a_partition_that_it_was_not_given_is_a_stranger() -> None:
    owners = Owners()
    owners.own(told("payment-1", 3, "orders/0"))
    owners.work("payment-1", "payment", "orders", 0, 3)
    owners.work("payment-1", "payment", "orders", 1, 3)
    owners.work("payment-1", "payment", "orders", 0, 4)

    assert [stranger.place for stranger in owners.strangers] == ["orders/1", "orders/0"]
    assert owners.strangers[0] == Stranger("payment", "orders/1", 3, "payment-1")


def test_what_nobody_told_of_or_is_forgotten_is_not_judged() -> None:
    owners = Owners()
    owners.work("payment-9", "payment", "orders", 0, 1)
    for epoch in range(1, 1_000):
        owners.own(told("payment-1", epoch, "orders/0"))
    owners.work("payment-1", "payment", "orders", 7, 1)

    assert owners.strangers == ()
    assert len(owners._by_member["payment-1"]) == len(owners._by_group["payment"]) == REMEMBERED
