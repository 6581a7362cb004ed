"""The declared policies: the measure of the promises.

`--set` changes a policy and so the contract; `--off` does not: a part that was switched off is
judged by the promises of the strong part. Lengths are microseconds. Not here: the settings that a
contract is made of (`lab.settings`).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """The policies of one run, as declared.

    Attributes:
        attempts_max: attempts of an event in all.
        in_place: attempts before an event moves to a retry topic.
        base_us, cap_us: of the backoff in place.
        tiers_us: delays of the retry topics.
        budget_tokens, budget_refill: of retries in place, per process and dependency.
        query_after: attempts after which a third party is asked before money is sent again.
        key_trusted_us: age of an order from which on that is done at once.
        handler_us, provider_us: longest run of a handler, longest call to a third party.
        workers, max_in_flight: of one subscription. requests: that an API has in hand.
        max_uncommitted: records of one partition from its first unsettled one on.
        window_us: how long an order is remembered that has come to its end: as long as dedupe
            remembers, and longer than anything of it may be delivered again.
        stop_us: longest time from the order to stop until the process has ended.
        grace_us: for so long a process that was told to stop cuts no handler off.
        breaker_window_us, breaker_calls_min: a dependency is known to be down if so many calls
            failed within this time, and none succeeded.
        breaker_open_us: a dependency that is known to be down is left alone for so long.
        breaker_failures_percent: share of failed calls that opens a breaker, at least.
        max_elapsed_us: a throttled event gives up after this.
        lease_us: how long a claim lasts at least.
        done_us: how long the dedupe store knows that an event is done.
        letters_in_a_row, letters_percent: more dead letters than these in a row, or of the last
            hundred events, pause a subscription, and fewer do not.
        redrive_rate: answers to dead letters that an operator gives in a second.
        expiry_us: an order that is not paid so long after its creation expires.
        redrives: how often an operator sends a dead event back. discards: those that are dead all
            the same are given up for good.
        late_us: a retry that is due for longer must not wait behind others; see `outrun_max`.
        skew_us: by so much clocks may differ; a not-before may be missed by it.
        slack_us: an upper bound may be missed by it.
        linger_us: an order that has come to its end is judged so long after; longer than facts and
            calls may be late to each other in the history.
    """

    attempts_max: int
    base_us: int
    cap_us: int
    tiers_us: tuple[int, ...]
    budget_tokens: int
    budget_refill: float
    handler_us: int
    provider_us: int
    workers: int
    max_in_flight: int
    window_us: int
    stop_us: int
    breaker_window_us: int
    breaker_calls_min: int
    grace_us: int = 0
    breaker_open_us: int = 0
    breaker_failures_percent: int = 50
    in_place: int = 3
    query_after: int = 2
    key_trusted_us: int = 43_200_000_000
    lease_us: int = 30_000_000
    done_us: int = 86_400_000_000
    letters_in_a_row: int = 10
    letters_percent: int = 20
    redrive_rate: float = 50.0
    expiry_us: int = 86_400_000_000
    max_elapsed_us: int = 600_000_000
    redrives: int = 0
    discards: bool = False
    late_us: int = 15_000_000
    requests: int = 100
    max_uncommitted: int = 2_000
    skew_us: int = 0
    slack_us: int = 1_000
    linger_us: int = 60_000_000

    @property
    def outrun_max(self) -> int:
        """So many more records of main topics than retries may come to their end before a due one.

        Those that the process had in hand when the retry became due, and those that it fetched
        before the retry had its turn.
        """
        return 2 * self.max_in_flight
