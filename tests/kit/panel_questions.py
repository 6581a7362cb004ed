"""What a Lens panel asks of a search server, and the numbers that it would show.

Kibana asks in much the same way: a bucket of each bucket column, in it each measure under its own
filter. Not here: the panels (`saved_objects`).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.kit.saved_objects import Json, columns_of
from tests.kit.search_server import SearchServer

Shown = dict[tuple[str, ...], dict[str, float]]
"""The numbers of a panel by their labels, of each combination of values; times are left out."""

BUCKET_S: Final = 10


def ask_panel(server: SearchServer, index: str, lens: Json, run_id: str) -> Shown:
    """What the panel shows of one run."""
    columns = columns_of(lens)
    (layer,) = lens["state"]["datasourceStates"]["formBased"]["layers"].values()
    ordered = {name: columns[name] for name in layer["columnOrder"]}
    buckets = [column for column in ordered.values() if column["isBucketed"]]
    measures = {name: column for name, column in ordered.items() if not column["isBucketed"]}
    aggregations = {name: _measure(column) for name, column in measures.items()}
    for column in reversed(buckets):
        aggregations = {"bucket": {**_bucket(column), "aggs": aggregations}}
    wanted = [{"term": {"labels.run_id": run_id}}, *_query(lens["state"]["query"]["query"])]
    body = {"size": 0, "query": {"bool": {"filter": wanted}}, "aggs": aggregations}
    answer = server.ask("POST", f"/{index}/_search", body)["aggregations"]
    shown: Shown = {}
    for key, found in _rows(answer, buckets, ()):
        row = shown.setdefault(key, {})
        for name, column in measures.items():
            value = _value(found[name])
            if value is not None:
                told = row.get(column["label"], 0.0)
                is_sum = column["operationType"] == "count"
                row[column["label"]] = told + value if is_sum else max(told, value)
    return shown


def ask_marks(server: SearchServer, index: str, lens: Json, run_id: str) -> dict[str, int]:
    """How many lines of each label the panel draws."""
    found = {}
    for layer in lens["state"]["visualization"].get("layers", ()):
        for mark in layer.get("annotations", ()):
            wanted = [{"term": {"labels.run_id": run_id}}, *_query(mark["filter"]["query"])]
            found[mark["label"]] = server.count(index, {"bool": {"filter": wanted}})
    return found


def _query(text: str) -> list[Json]:
    return [{"query_string": {"query": text}}] if text else []


def _bucket(column: Json) -> Json:
    field = column["sourceField"]
    if column["operationType"] == "date_histogram":
        return {"date_histogram": {"field": field, "fixed_interval": f"{BUCKET_S}s"}}
    return {"terms": {"field": field, "size": column["params"]["size"]}}


def _measure(column: Json) -> Json:
    field = column["sourceField"]
    asked: Mapping[str, Json] = {
        "count": {"value_count": {"field": "_index"}},
        "max": {"max": {"field": field}},
        "percentile": {
            "percentiles": {"field": field, "percents": [column["params"].get("percentile")]}
        },
        "unique_count": {"cardinality": {"field": field}},
    }
    query = column.get("filter", {}).get("query", "*")
    return {
        "filter": {"query_string": {"query": query}},
        "aggs": {"value": asked[column["operationType"]]},
    }


def _rows(
    found: Any, buckets: list[Json], key: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not buckets:
        yield key, found
        return
    first, *rest = buckets
    for bucket in found["bucket"]["buckets"]:
        own = () if first["operationType"] == "date_histogram" else (str(bucket["key"]),)
        yield from _rows(bucket, rest, (*key, *own))


def _value(found: Any) -> float | None:
    value = found["value"]
    if "values" in value:
        (value["value"],) = value["values"].values()
    told = value["value"]
    return None if told is None or told == "NaN" else float(told)
