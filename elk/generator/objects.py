"""What Kibana shows of the lab: two data views, saved searches and one dashboard.

Not here: how Lens writes a panel down (`lens`), which fields there are (`fields`).

Source: Kibana's schemas of saved objects; versions as of Kibana 9.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from elk.generator import lens
from elk.generator.fields import ELK
from elk.generator.lens import Json, Mark, Measure

OBJECTS_FILE: Final = ELK / "kibana" / "lab.ndjson"
LOGS: Final = "orders-lab-logs"
TRACES: Final = "orders-lab-traces"
UNPARSED: Final = "orders-lab-unparsed"
DASHBOARD: Final = "orders-lab"
COLUMNS: Final = 48
"""Width of a dashboard's grid."""

_CORE: Final = "8.8.0"
# Of an older version than that of Kibana: its migrations bring them up.
_VERSIONS: Final = {"dashboard": "10.2.0", "index-pattern": "8.0.0", "search": "10.5.0"}

FAULT: Final = Mark(
    view=LOGS,
    query="event.action:fault",
    label="Fault",
    colour="#bd271e",
    icon="bolt",
    shows=("lab.fault.kind", "lab.fault.site", "message"),
)
PHASE: Final = Mark(
    view=LOGS,
    query="event.action:phase",
    label="Phase",
    colour="#69707d",
    icon="flag",
    shows=("lab.phase",),
)
MARKS: Final = (FAULT, PHASE)

GUIDE: Final = """\
**Orders of the lab.** Choose a run, and a time range that holds it: the time of a simulated run
counts from an epoch of its own. Red lines are faults, grey ones phases of the run. One order, step
by step: *Applications*, *Traces*, or the saved search *Order lab: one order*. Lines that are no
records of the lab: the saved search *Order lab: unparsed lines*. No process sees the states of
orders or the lag of groups: they are told once a run is shipped; of a standing system, `/metrics`
tells the lag.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel and its place on the grid.

    Attributes:
        x, y, w, h: left edge, top edge, width and height.
        title: over it; "" hides it.
        attributes: of a Lens panel; {} for another one.
        search: id of the saved search that it shows; "" for another one.
        text: Markdown; "" for another one.
    """

    x: int
    y: int
    w: int
    h: int
    title: str
    attributes: Json
    search: str = ""
    text: str = ""


def saved_objects() -> Iterator[Json]:
    """Every object, those that others refer to first."""
    yield from _data_views()
    yield from _searches()
    yield _dashboard(tuple(panels()))


def as_ndjson(objects: Iterator[Json]) -> str:
    """One object a line, as Kibana imports and exports them."""
    return "".join(f"{_text(one)}\n" for one in objects)


def panels() -> Iterator[Panel]:
    """The panels of the dashboard, from top to bottom."""
    yield Panel(x=0, y=0, w=COLUMNS, h=5, title="", attributes={}, text=GUIDE)
    for place, (view, measure) in enumerate(_NUMBERS):
        attributes = lens.number(view=view, measure=measure)
        yield Panel(x=8 * place, y=5, w=8, h=4, title="", attributes=attributes)
    charts = iter(_charts())
    for y in (9, 21, 33):
        for x in (0, COLUMNS // 2):
            title, attributes = next(charts)
            yield Panel(x=x, y=y, w=COLUMNS // 2, h=12, title=title, attributes=attributes)
    title, attributes = next(charts)
    yield Panel(x=0, y=45, w=COLUMNS, h=12, title=title, attributes=attributes)
    for y, search in ((57, "orders-lab-dead-letters"), (69, "orders-lab-faults")):
        yield Panel(x=0, y=y, w=COLUMNS, h=12, title="", attributes={}, search=search)


_SUPPRESSED: Final = "labels.suppressed_by:(dedupe OR inbox)"
_NUMBERS: Final = (
    (LOGS, Measure(label="Orders", operation="unique_count", field="labels.order_id")),
    (TRACES, Measure(label="Attempts", operation="count", query="event.action:attempt")),
    (LOGS, Measure(label="Retries", operation="count", query="event.action:retry")),
    (TRACES, Measure(label="Duplicates suppressed", operation="count", query=_SUPPRESSED)),
    (LOGS, Measure(label="Dead letters", operation="count", query="event.action:dead-letter")),
    (LOGS, Measure(label="Faults", operation="count", query="event.action:fault")),
)


def _charts() -> Sequence[tuple[str, Json]]:
    attempt = "event.action:attempt AND "
    return (
        (
            "Orders by state (of runs)",
            lens.chart(
                view=LOGS,
                measures=[
                    Measure(label="Orders", operation="unique_count", field="labels.order_id")
                ],
                series="bar_horizontal",
                x=("lab.state", "State"),
                query="event.action:order-state",
            ),
        ),
        (
            "From creation to a state (of runs), 95 of 100 below",
            lens.chart(
                view=LOGS,
                measures=[
                    Measure(label="p95", operation="percentile", field="event.duration", percent=95)
                ],
                series="line",
                split=("lab.state", "State"),
                query="event.action:order-state",
                marks=MARKS,
            ),
        ),
        (
            "Attempts",
            lens.chart(
                view=TRACES,
                measures=[
                    Measure(label=label, operation="count", query=attempt + query)
                    for label, query in (
                        ("first, succeeded", "event.outcome:success AND lab.attempt:1"),
                        ("later, succeeded", "event.outcome:success AND lab.attempt:>1"),
                        ("failed", "event.outcome:failure"),
                        ("unknown", "event.outcome:unknown"),
                    )
                ],
                series="bar_stacked",
                marks=MARKS,
            ),
        ),
        (
            "Latency of services, 95 of 100 below",
            lens.chart(
                view=TRACES,
                measures=[
                    Measure(
                        label="p95",
                        operation="percentile",
                        field="transaction.duration.us",
                        percent=95,
                    )
                ],
                series="line",
                split=("service.name", "Service"),
                query="processor.event:transaction",
                marks=MARKS,
            ),
        ),
        (
            "Consumer lag (of simulated runs)",
            lens.chart(
                view=LOGS,
                measures=[Measure(label="records behind", operation="max", field="lab.lag")],
                series="line",
                split=("messaging.consumer.group.name", "Group"),
                query="event.action:lag",
                marks=MARKS,
            ),
        ),
        (
            "Suppressed duplicates",
            lens.chart(
                view=TRACES,
                measures=[
                    Measure(label=one, operation="count", query=f"labels.suppressed_by:{one}")
                    for one in ("dedupe", "inbox")
                ],
                series="bar_stacked",
                marks=MARKS,
            ),
        ),
        (
            "Dead letters",
            lens.table(
                view=LOGS,
                buckets={"messaging.consumer.group.name": "Group", "lab.reason": "Reason"},
                measures=[
                    Measure(label="Dead letters", operation="count"),
                    Measure(label="Attempts, most", operation="max", field="lab.attempts"),
                ],
                query="event.action:dead-letter",
            ),
        ),
    )


def _data_views() -> Iterator[Json]:
    formats = {
        LOGS: {"event.duration": _duration("nanoseconds")},
        TRACES: dict.fromkeys(
            ("span.duration.us", "transaction.duration.us"), _duration("microseconds")
        ),
    }
    for name, title, label in (
        (LOGS, "logs-orders.*-*", "Order lab: logs"),
        (TRACES, "traces-apm-*", "Order lab: traces"),
        (UNPARSED, "logs-lab.unparsed-*", "Order lab: unparsed lines"),
    ):
        attributes = {"name": label, "timeFieldName": "@timestamp", "title": title}
        if name in formats:
            attributes["fieldFormatMap"] = _text(formats[name])
        yield _object("index-pattern", name, attributes, {})


def _duration(unit: str) -> Json:
    """Show a number of these as milliseconds."""
    return {
        "id": "duration",
        "params": {
            "inputFormat": unit,
            "outputFormat": "asMilliseconds",
            "outputPrecision": 1,
            "showSuffix": True,
            "useShortSuffix": True,
        },
    }


def _searches() -> Iterator[Json]:
    who = ("labels.order_id", "messaging.consumer.group.name")
    for name, title, view, query, columns in (
        (
            "orders-lab-order",
            "Order lab: one order",
            LOGS,
            "labels.order_id:*",
            ("service.name", "event.action", "lab.state", "message", "labels.order_id", "trace.id"),
        ),
        (
            "orders-lab-trace",
            "Order lab: one trace",
            TRACES,
            "trace.id:*",
            ("service.name", "event.action", "event.outcome", "transaction.name", "span.name"),
        ),
        (
            "orders-lab-dead-letters",
            "Order lab: dead letters",
            LOGS,
            "event.action:dead-letter",
            (*who, "lab.reason", "lab.attempts", "message", "trace.id"),
        ),
        (
            "orders-lab-faults",
            "Order lab: faults",
            LOGS,
            "event.action:fault",
            ("lab.fault.kind", "lab.fault.site", "labels.order_id", "message"),
        ),
        (
            "orders-lab-warnings",
            "Order lab: warnings and errors",
            LOGS,
            "log.level:(warning OR error OR critical)",
            ("log.level", "service.name", "service.node.name", "event.action", "message"),
        ),
        (
            "orders-lab-unparsed",
            "Order lab: unparsed lines",
            UNPARSED,
            "",
            ("log.file.path", "message", "error.message"),
        ),
    ):
        yield _search(name, title, view, query, columns)


def _search(name: str, title: str, view: str, query: str, columns: Sequence[str]) -> Json:
    reference = "kibanaSavedObjectMeta.searchSourceJSON.index"
    source = {
        "filter": [],
        "indexRefName": reference,
        "query": {"language": "lucene", "query": query},
    }
    attributes = {
        "columns": list(columns),
        "description": "",
        "grid": {},
        "hideChart": False,
        "isTextBasedQuery": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": _text(source)},
        "sort": [["@timestamp", "asc"]],
        "timeRestore": False,
        "title": title,
    }
    return _object("search", name, attributes, {reference: ("index-pattern", view)})


def _dashboard(shown: Sequence[Panel]) -> Json:
    references: dict[str, tuple[str, str]] = {"controlGroup_run:optionsListDataView": _VIEW_OF_RUNS}
    written = []
    for number, panel in enumerate(shown):
        index = f"p{number}"
        written.append(_panel(index, panel))
        for reference in panel.attributes.get("references", ()):
            references[f"{index}:{reference['name']}"] = ("index-pattern", reference["id"])
        if panel.search:
            references[f"{index}:panel_{index}"] = ("search", panel.search)
    options = {
        "hidePanelTitles": False,
        "syncColors": True,
        "syncCursor": True,
        "syncTooltips": False,
        "useMargins": True,
    }
    source = {"filter": [], "query": {"language": "kuery", "query": ""}}
    attributes = {
        "controlGroupInput": _controls(),
        "description": "What became of the orders, what it cost, and what struck them.",
        "kibanaSavedObjectMeta": {"searchSourceJSON": _text(source)},
        "optionsJSON": _text(options),
        "panelsJSON": _text(written),
        "timeRestore": False,
        "title": "Order lab",
    }
    return _object("dashboard", DASHBOARD, attributes, references)


def _panel(index: str, panel: Panel) -> Json:
    config: Json = {"enhancements": {}, "hidePanelTitles": not (panel.title or panel.search)}
    written: Json = {
        "embeddableConfig": config,
        "gridData": {"h": panel.h, "i": index, "w": panel.w, "x": panel.x, "y": panel.y},
        "panelIndex": index,
    }
    if panel.search:
        return {**written, "panelRefName": f"panel_{index}", "type": "search"}
    if panel.text:
        config["savedVis"] = {
            "data": {"aggs": [], "searchSource": {}},
            "description": "",
            "params": {"fontSize": 12, "markdown": panel.text, "openLinksInNewTab": False},
            "title": "",
            "type": "markdown",
            "uiState": {},
        }
        return {**written, "type": "visualization"}
    config["attributes"] = {**panel.attributes, "title": panel.title}
    return {**written, "title": panel.title, "type": "lens"}


_VIEW_OF_RUNS: Final = ("index-pattern", LOGS)


def _controls() -> Json:
    """Above the panels: which run."""
    control = {
        "explicitInput": {
            "dataViewId": LOGS,
            "fieldName": "labels.run_id",
            "id": "run",
            "searchTechnique": "prefix",
            "selectedOptions": [],
            "sort": {"by": "_key", "direction": "desc"},
            "title": "Run",
        },
        "grow": True,
        "order": 0,
        "type": "optionsListControl",
        "width": "large",
    }
    ignored = dict.fromkeys(
        ("ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations"), False
    )
    return {
        "chainingSystem": "HIERARCHICAL",
        "controlStyle": "oneLine",
        "ignoreParentSettingsJSON": _text(ignored),
        "panelsJSON": _text({"run": control}),
        "showApplySelections": False,
    }


def _object(
    kind: str,
    name: str,
    attributes: Mapping[str, Any],
    references: Mapping[str, tuple[str, str]],
) -> Json:
    return {
        "attributes": dict(attributes),
        "coreMigrationVersion": _CORE,
        "id": name,
        "managed": False,
        "references": [
            {"id": target, "name": name, "type": kind_of_target}
            for name, (kind_of_target, target) in sorted(references.items())
        ],
        "type": kind,
        "typeMigrationVersion": _VERSIONS[kind],
    }


def _text(value: object) -> str:
    """JSON, the same for equal values."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
