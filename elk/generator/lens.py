"""Panels of a dashboard in the form that Kibana's Lens keeps: columns over a data view.

Queries are in Lucene's syntax: a search server takes them as they stand, so tests can ask them. Not
here: what the lab's panels show (`objects`).

Source: Kibana's own sample dashboards, and the schemas of its saved objects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

X: Final = "x"
SPLIT: Final = "split"
LAYER: Final = "data"
MARKS: Final = "marks"
TOP_MAX: Final = 12
"""More values of one field are summed up as `Other`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Vertical lines in a chart over time, at the documents that a query finds.

    Attributes:
        view: id of the data view that has them.
        query: which of its documents.
        label, colour, icon: how they look.
        shows: the fields that are told when one points at a line.
    """

    view: str
    query: str
    label: str
    colour: str
    icon: str
    shows: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number computed over the documents of a bucket.

    Attributes:
        label: what it is called.
        operation: `count`, `unique_count`, `max` or `percentile`.
        field: what it is computed of; "" for `count`.
        query: the documents that take part; "" for all.
        percent: of a percentile.
    """

    label: str
    operation: str
    field: str = ""
    query: str = ""
    percent: int = 0

    def column(self) -> Json:
        """The column that computes it."""
        params: Json = {"emptyAsNull": False}
        if self.operation == "percentile":
            params = {"percentile": self.percent}
        column: Json = {
            "customLabel": True,
            "dataType": "number",
            "isBucketed": False,
            "label": self.label,
            "operationType": self.operation,
            "params": params,
            "scale": "ratio",
            "sourceField": self.field or "___records___",
        }
        if self.query:
            column["filter"] = {"language": "lucene", "query": self.query}
        return column


def over_time() -> Json:
    """The column that makes a bucket of each stretch of time."""
    return {
        "dataType": "date",
        "isBucketed": True,
        "label": "@timestamp",
        "operationType": "date_histogram",
        "params": {"dropPartials": False, "includeEmptyRows": True, "interval": "auto"},
        "scale": "interval",
        "sourceField": "@timestamp",
    }


def by_value(field: str, label: str, *, ordered_by: str) -> Json:
    """The column that makes a bucket of each value of a field, the largest first."""
    return {
        "customLabel": True,
        "dataType": "string",
        "isBucketed": True,
        "label": label,
        "operationType": "terms",
        "params": {
            "exclude": [],
            "excludeIsRegex": False,
            "include": [],
            "includeIsRegex": False,
            "missingBucket": False,
            "orderBy": {"columnId": ordered_by, "type": "column"},
            "orderDirection": "desc",
            "otherBucket": True,
            "parentFormat": {"id": "terms"},
            "size": TOP_MAX,
        },
        "scale": "ordinal",
        "sourceField": field,
    }


def chart(
    *,
    view: str,
    measures: Sequence[Measure],
    series: str,
    split: tuple[str, str] | None = None,
    x: tuple[str, str] | None = None,
    query: str = "",
    marks: Sequence[Mark] = (),
) -> Json:
    """A chart of measures.

    Args:
        view: id of the data view.
        measures: what is drawn.
        series: `line`, `bar_stacked`, `bar_horizontal`.
        split: field and label by whose values a measure becomes several.
        x: field and label of the other axis; None for time.
        query: the documents that take part.
        marks: lines in a chart over time; all of one data view.
    """
    ids = [f"y{number}" for number in range(len(measures))]
    columns = {name: measure.column() for name, measure in zip(ids, measures, strict=True)}
    columns[X] = by_value(*x, ordered_by=ids[0]) if x else over_time()
    layer: Json = {
        "accessors": ids,
        "layerId": LAYER,
        "layerType": "data",
        "seriesType": series,
        "xAccessor": X,
    }
    order = [X, *ids]
    if split:
        columns[SPLIT] = by_value(*split, ordered_by=ids[0])
        layer["splitAccessor"] = SPLIT
        order = [SPLIT, *order]
    layers = [layer]
    references = {f"indexpattern-datasource-layer-{LAYER}": view}
    if marks:
        layers.append(_marks_layer(marks))
        references[f"xy-visualization-layer-{MARKS}"] = marks[0].view
    shape = {
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": False, "yRight": False},
        "fittingFunction": "None",
        "layers": layers,
        "legend": {"isVisible": True, "position": "bottom", "showSingleSeries": True},
        "preferredSeriesType": series,
        "valueLabels": "show" if x else "hide",
    }
    return _attributes("lnsXY", shape, _layer(columns, order), query, references)


def table(
    *, view: str, buckets: Mapping[str, str], measures: Sequence[Measure], query: str = ""
) -> Json:
    """A table with a row for each combination of values.

    Args:
        view: id of the data view.
        buckets: field -> label of the columns that make the rows.
        measures: the columns with numbers.
        query: the documents that take part.
    """
    numbers = [f"y{number}" for number in range(len(measures))]
    rows = [f"row{number}" for number in range(len(buckets))]
    columns = {
        name: by_value(field, label, ordered_by=numbers[0])
        for name, (field, label) in zip(rows, buckets.items(), strict=True)
    }
    columns |= {name: measure.column() for name, measure in zip(numbers, measures, strict=True)}
    order = [*rows, *numbers]
    shape = {
        "columns": [{"columnId": name} for name in order],
        "layerId": LAYER,
        "layerType": "data",
    }
    references = {f"indexpattern-datasource-layer-{LAYER}": view}
    return _attributes("lnsDatatable", shape, _layer(columns, order), query, references)


def number(*, view: str, measure: Measure) -> Json:
    """One large number."""
    shape = {"layerId": LAYER, "layerType": "data", "metricAccessor": "y0"}
    layer = _layer({"y0": measure.column()}, ["y0"])
    references = {f"indexpattern-datasource-layer-{LAYER}": view}
    return _attributes("lnsMetric", shape, layer, "", references)


def _marks_layer(marks: Sequence[Mark]) -> Json:
    assert len({mark.view for mark in marks}) == 1, marks
    return {
        "annotations": [
            {
                "color": mark.colour,
                "extraFields": list(mark.shows),
                "filter": {"language": "lucene", "query": mark.query, "type": "kibana_query"},
                "icon": mark.icon,
                "id": f"mark{number}",
                "key": {"type": "point_in_time"},
                "label": mark.label,
                "timeField": "@timestamp",
                "type": "query",
            }
            for number, mark in enumerate(marks)
        ],
        # The run that is chosen above counts for the lines too.
        "ignoreGlobalFilters": False,
        "layerId": MARKS,
        "layerType": "annotations",
    }


def _layer(columns: Mapping[str, Json], order: Sequence[str]) -> Json:
    return {"columnOrder": list(order), "columns": dict(columns), "incompleteColumns": {}}


def _attributes(
    kind: str, shape: Json, layer: Json, query: str, references: Mapping[str, str]
) -> Json:
    return {
        "references": [
            {"id": view, "name": name, "type": "index-pattern"} for name, view in references.items()
        ],
        "state": {
            "adHocDataViews": {},
            "datasourceStates": {"formBased": {"layers": {LAYER: layer}}},
            "filters": [],
            "internalReferences": [],
            "query": {"language": "lucene", "query": query},
            "visualization": shape,
        },
        "title": "",
        "type": "lens",
        "visualizationType": kind,
    }
