"""The same findings on a Dask cluster of processes."""

import json

import pytest
from distributed import LocalCluster

from lab.cli import app

QUESTION = ("search", "duplicates", "--orders", "8", "--off", "dedupe,inbox", "--seeds", "1-21")


@pytest.mark.slow
def test_a_cluster_finds_what_one_core_finds(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        for where in (("--cluster", cluster.scheduler_address), ("--jobs", "1")):
            assert app.run_command([*QUESTION, "--json", *where]) == 1
            found.append(json.loads(capsys.readouterr().out))

    assert found[0] == found[1]
    assert found[0]["runs"] == 21


def test_a_cluster_that_is_away_is_named_with_what_starts_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert app.run_command([*QUESTION, "--cluster", "nonsense://x"]) == 4

    told = capsys.readouterr().err
    assert "nonsense://x" in told
    assert "dask scheduler" in told
