"""A page read as a browser would: its elements, with their texts. No network, no style."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final

VOID: Final = frozenset({"meta", "link", "br", "hr", "img", "input"})
_RAW: Final = frozenset({"style", "script"})
_INLINE: Final = frozenset({"a", "b", "code", "span"})


@dataclass(slots=True)
class Node:
    """An element: its children are elements and texts."""

    tag: str
    attributes: dict[str, str]
    children: "list[Node | str]" = field(default_factory=list)

    def all(self, *tags: str) -> "Iterator[Node]":
        """It and everything in it, of these tags or all."""
        if not tags or self.tag in tags:
            yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.all(*tags)

    def one(self, tag: str, **attributes: str) -> "Node":
        """The only element of this tag with these attributes."""
        found = [node for node in self.all(tag) if attributes.items() <= node.attributes.items()]
        assert len(found) == 1, (tag, attributes, len(found))
        return found[0]

    @property
    def text(self) -> str:
        """All texts in it but style sheets, one space between words."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            elif child.tag not in _RAW:
                yield "" if child.tag in _INLINE else " "
                yield from child._texts()
                yield "" if child.tag in _INLINE else " "


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        assert len(node.attributes) == len(attrs), f"{tag} has an attribute twice"
        self._open[-1].children.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"</{tag}> where {self._open[-1].tag} is open"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)

    def end(self) -> Node:
        assert len(self._open) == 1, f"{self._open[-1].tag} is never closed"
        return self.root


def read_page(text: str) -> Node:
    """The tree of a page.

    Raises:
        AssertionError: its tags do not match.
    """
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.end()
