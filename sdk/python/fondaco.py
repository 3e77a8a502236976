"""Help for storefronts in Python: HTML that escapes by itself, requests, answers, prices.

Nothing in here knows the node, so pages can be tested with plain `python3 -m unittest`. What the node lends is in
`node.py`.
"""

from dataclasses import dataclass, field
from html import escape
from urllib.parse import parse_qs, quote, unquote


class NotFound(Exception):
    """There is no such work, or no such page: answer 404."""


class BadRequest(Exception):
    """The question makes no sense, such as a page number that is none: answer 400."""


class Unavailable(Exception):
    """The node does not answer this just now: answer 503."""


class Html(str):
    """Text that is HTML already. Anything else is escaped where it enters a page."""


def html(template: str, *values: object) -> Html:
    """Fills the `{}` of a template. What is put in is text, unless it is `Html`; a list is its parts, one by one."""
    return Html(template.format(*(_markup(value) for value in values)))


def _markup(value: object) -> str:
    if isinstance(value, Html):
        return value
    if isinstance(value, (list, tuple)):
        return "".join(_markup(part) for part in value)
    return escape(str(value))


def encode(text: str) -> str:
    """Text as one segment of an address: a work's id is `<key>/<slug>`, and its page `/works/<key>%2F<slug>`."""
    return quote(text, safe="")


def price(money) -> str:
    """EUR 499 with exponent 2 is "4.99 EUR". All in whole numbers: money is never a float."""
    digits = money.amount.zfill(money.exponent + 1)
    whole = digits[: len(digits) - money.exponent]
    part = digits[len(digits) - money.exponent :]
    return f"{whole}.{part} {money.asset}" if part else f"{whole} {money.asset}"


@dataclass
class Request:
    """What a visitor asked for."""

    method: str
    #: Path and query, as they came.
    target: str
    #: Names are in lower case.
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def segments(self) -> list[str]:
        """The path's segments, decoded: `/works/a%2Fb` is `["works", "a/b"]`."""
        path = self.target.partition("?")[0]
        return [unquote(segment) for segment in path.split("/") if segment]

    def query(self, name: str) -> str | None:
        """The first value of a parameter, decoded."""
        found = parse_qs(self.target.partition("?")[2]).get(name)
        return found[0] if found else None


@dataclass
class Response:
    """An answer. Security headers are the node's own."""

    body: str
    status: int = 200
    media_type: str = "text/html; charset=utf-8"
    headers: list[tuple[str, str]] = field(default_factory=list)
