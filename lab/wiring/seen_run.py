"""A run that is over, read back from its folder: its result, its entries, what can be seen of it.

Everything that is made of a kept run starts here: shipping, reports, stories. Not here: formats
(`lab.observe`), and which folder a name means (`lab.cli`).
"""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from lab.history.entries import Entry
from lab.history.history_file import WHOLE_UP_TO
from lab.history.history_reader import HistoryError, digest_of, read_history
from lab.history.recorder import Sink
from lab.observe.apm import span_documents
from lab.observe.ecs_line import line_document
from lab.observe.fields import Document, Origin, of_this_run
from lab.observe.model import LogLine, Span
from lab.observe.run_view import RunView
from lab.observe.traces import ComputedTraces
from lab.report.result import Result
from lab.runtime.ids import SeededIds

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_decode: Final = msgspec.json.Decoder(Result).decode


class SeenRun:
    """One run in its folder.

    Args:
        folder: such as `runs/duplicates/20250101T120000Z-s7`.
        sinks: take its entries while the history is checked, so that it need not be read again.

    Attributes:
        result: what the run found.
        is_whole: every entry was kept; else the history holds some orders only.

    Raises:
        HistoryError: the folder is none of a run, or of another version, or was tampered with.
    """

    def __init__(self, folder: Path, *sinks: Sink) -> None:
        self.folder = folder
        self.result = _read_result(folder)
        self.is_whole = self._check(sinks)

    @property
    def run_id(self) -> str:
        """Its name: scenario and folder."""
        return f"{self.result.scenario}/{self.folder.resolve().name}"

    @property
    def origin(self) -> Origin:
        """Where its spans and lines come from."""
        return Origin(
            run_id=self.run_id,
            environment=self.result.mode,
            version=self.result.versions.lab,
        )

    @property
    def epoch_us(self) -> int:
        """Microseconds since 1970 at which its history's clock showed 0."""
        return (datetime.fromisoformat(self.result.time.epoch) - _EPOCH) // timedelta(
            microseconds=1
        )

    def entries(self) -> Iterator[Entry]:
        """Its history, as far as it was kept."""
        return read_history(self.folder / "history.ndjson")

    def view(
        self,
        emit: Callable[[Span | LogLine], object],
        *,
        about: Collection[int] | None = None,
        keep: Callable[[Entry], object] | None = None,
    ) -> None:
        """Hand out every span and log line of it.

        Args:
            emit: takes them.
            keep: takes the entries of which they are made.
            about: only what has to do with these orders, by their ordinals, and with the run;
                spans of other orders come along where one call was about several.
        """
        view = RunView(
            traces=self._traces(),
            epoch_us=self.epoch_us,
            emit=emit,
            is_whole=self.is_whole and about is None,
        )
        wanted = None if about is None else {"", *map(str, about)}
        for entry in self.entries():
            if wanted is None or str(entry[3]).partition(".")[0] in wanted:
                view.take(entry)
                if keep is not None:
                    keep(entry)
        view.close()

    def documents(self) -> Iterator[Document]:
        """Every span and log line of it as documents, in the order in which they are complete."""
        found: list[Span | LogLine] = []
        view = RunView(
            traces=self._traces(),
            epoch_us=self.epoch_us,
            emit=found.append,
            is_whole=self.is_whole,
        )
        origin = self.origin
        for entry in self.entries():
            view.take(entry)
            if found:
                yield from _documents(found, origin)
                found.clear()
        view.close()
        yield from _documents(found, origin)

    def _traces(self) -> ComputedTraces:
        return ComputedTraces(
            SeededIds(self.result.seed).traceparent,
            has_client=True,
            sees_requests=self.result.mode == "real",
        )

    def _check(self, sinks: tuple[Sink, ...]) -> bool:
        digest, count = digest_of(self.folder / "history.ndjson", *sinks)
        if count == self.result.history_entries:
            # A run on the wall clock has no digest: it is like no other.
            if self.result.digest and digest != self.result.digest:
                raise HistoryError(
                    f"{self.folder}: the history is not the one that was judged (digest {digest}, "
                    f"its result says {self.result.digest}); run it again"
                )
            return True
        if self.result.orders.submitted <= WHOLE_UP_TO:
            raise HistoryError(
                f"{self.folder}: the history has {count:,} of {self.result.history_entries:,} "
                "entries; run it again"
            )
        return False


def _read_result(folder: Path) -> Result:
    path = folder / "result.json"
    try:
        return _decode(path.read_bytes())
    except OSError as bad:
        raise HistoryError(
            f"{folder} is no folder of a run ({path.name}: {bad.strerror}); see: lab list --runs"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as bad:
        raise HistoryError(
            f"{path} is no result of this version of the lab ({bad}); run it again"
        ) from None


def _documents(found: list[Span | LogLine], origin: Origin) -> Iterator[Document]:
    for seen in found:
        made = (
            span_documents(seen, origin)
            if isinstance(seen, Span)
            else (line_document(seen, origin),)
        )
        for document in made:
            yield of_this_run(document, origin)
