"""What a killed run has left is removed, also what a server has made for it meanwhile."""

import os
from pathlib import Path

import pytest

from lab.settings import environment
from lab.wiring import leftovers
from lab.wiring.backends.readiness import addresses
from lab.wiring.leftovers import Leftover, Looked, clean
from lab.wiring.worlds.run_lock import RunLock, holding, run_locks

NAME = "lab_0123456789"


def found(topics: int = 0, schemas: int = 0) -> Looked:
    return Looked(
        found=[Leftover(name=NAME, state="killed", topics=topics, schemas=schemas)], away=[]
    )


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Leftover]:
    """What was removed; the run's lock stands in a folder of its own, and nobody holds it."""
    monkeypatch.setattr(leftovers, "_LATE_S", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done: list[Leftover] = []

    async def remove(one: Leftover) -> list[str]:
        done.append(one)
        return []

    monkeypatch.setattr(leftovers, "_remove", remove)
    at = addresses(environment())
    lock = RunLock(
        name=NAME,
        postgres_dsn=at["POSTGRES_DSN"],
        redis_url=at["REDIS_URL"],
        kafka_bootstrap=at["KAFKA_BOOTSTRAP"],
        process=os.getpid(),
    )
    with holding(lock, ["it was killed"]):
        pass
    assert [one.lock.name for one in run_locks()] == [NAME]
    return done


def test_what_a_server_makes_behind_a_kill_is_removed_too(
    removed: list[Leftover], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([found(schemas=1), found(topics=38)])
    monkeypatch.setattr(leftovers, "look", lambda: next(looks))

    assert clean(found(schemas=1).found).removed == [NAME]
    assert [(one.schemas, one.topics) for one in removed] == [(1, 0), (0, 38)]
    assert run_locks() == []


def test_a_lock_stays_if_what_came_late_cannot_be_removed(
    removed: list[Leftover], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([found(schemas=1), found(topics=38)])
    monkeypatch.setattr(leftovers, "look", lambda: next(looks))

    async def remove(one: Leftover) -> list[str]:
        return ["it has gone away"] if one.topics else []

    monkeypatch.setattr(leftovers, "_remove", remove)
    done = clean(found(schemas=1).found)
    assert (done.removed, done.failed) == ([], [f"{NAME}: it has gone away"])
    assert [one.lock.name for one in run_locks()] == [NAME]
    assert removed == []
