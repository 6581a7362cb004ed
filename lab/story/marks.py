"""Marks on the line of a step: something at one moment. Not here: steps (`steps`)."""

from enum import StrEnum

import msgspec


class Sign(StrEnum):
    """What a mark on the line of a step stands for."""

    FAULT = "fault"
    SUPPRESSED = "suppressed"
    DEAD = "dead"
    CRASH = "crash"
    FACT = "fact"
    TURN = "turn"
    NOTE = "note"


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Something at one moment of a step."""

    at_us: int
    sign: Sign
    text: str
