"""What a scraper reads of a process, as samples by name and labels.

Not here: asking for it.
"""

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lab.observe.metrics import ProcessMetrics, make_registry

Shown = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_in(text: str) -> Shown:
    """Every sample of the lab's own in a text of Prometheus' format."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("lab_")
    }


def shown_of(metrics: ProcessMetrics) -> Shown:
    """Every sample of the lab's own that a scrape would show now."""
    return samples_in(generate_latest(make_registry(metrics)).decode())


def value(source: ProcessMetrics | Shown, name: str, **labels: str) -> float | None:
    """The sample with exactly these labels, None if it is absent."""
    shown = source if isinstance(source, dict) else shown_of(source)
    return shown.get((name, frozenset(labels.items())))


def total(shown: Shown, name: str, **labels: str) -> float | None:
    """The sum of all samples that have these labels, None if there is none."""
    wanted = frozenset(labels.items())
    found = [value for (each, given), value in shown.items() if each == name and wanted <= given]
    return sum(found) if found else None
