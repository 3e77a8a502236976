"""What the node lends to a storefront, and how requests reach it.

The modules of `wit_world` are made from `wit/` when the component is built (`cargo fondaco build` also writes them to
`types/`, for editors). To use more of the node, add the interface to `wit/world.wit` and to `plugin.toml`.
"""

from collections.abc import Callable

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import catalogue, discovery, search_types, settings
from wit_world.imports import fondaco_plugin_types as types
from wit_world.imports.wasi_http_types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam

from fondaco import BadRequest, NotFound, Request, Response, Unavailable

#: WASI takes at most so many bytes at once.
_CHUNK = 4096


def _ask(function, *arguments):
    """Calls the node; what it refuses becomes an exception of ours."""
    try:
        return function(*arguments)
    except Err as error:
        if isinstance(error.value, types.Error_NotFound):
            raise NotFound from error
        if isinstance(error.value, types.Error_Invalid):
            raise BadRequest(error.value.value) from error
        raise Unavailable(str(error.value)) from error


def brand() -> settings.Brand:
    """The shop's name and looks."""
    return settings.get_brand()


def browse(cursor: str | None, limit: int) -> catalogue.Page:
    """Works, the newest first; `cursor` is the page before's `next`."""
    return _ask(catalogue.browse, cursor, limit)


def count() -> int:
    """How many works there are."""
    return _ask(catalogue.count)


def work(id: str) -> types.Work:
    """The newest release of a work."""
    return _ask(catalogue.get, id)


def search(text: str, cursor: str | None, limit: int) -> search_types.Results:
    """Asks the search providers that the operator installed."""
    query = search_types.Query(
        text=text,
        kinds=[],
        tags=[],
        language=None,
        max_price=None,
        drm_free=False,
        facets=[],
        sort=search_types.Sort.RELEVANCE,
        cursor=cursor,
        limit=limit,
        reach=search_types.Reach.LOCAL_ONLY,
        wait_ms=0,
    )
    return _ask(discovery.search, query)


def storefront(answer: Callable[[Request], Response]) -> type:
    """The class that the component exports, made of a function from request to response."""

    class IncomingHandler(exports.IncomingHandler):
        def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
            _write(answer(_read(request)), response_out)

    return IncomingHandler


def _read(request: IncomingRequest) -> Request:
    method = request.method()
    # `Method_Get` and so on; only an unusual one carries its name.
    name = getattr(method, "value", type(method).__name__.removeprefix("Method_").upper())
    fields = request.headers().entries()
    headers = {name.lower(): value.decode("latin-1") for name, value in fields}
    return Request(name, request.path_with_query() or "/", headers)


def _write(response: Response, response_out: ResponseOutparam) -> None:
    headers = [("content-type", response.media_type), *response.headers]
    fields = Fields.from_list([(name, value.encode("latin-1")) for name, value in headers])
    outgoing = OutgoingResponse(fields)
    outgoing.set_status_code(response.status)
    body = outgoing.body()
    ResponseOutparam.set(response_out, Ok(outgoing))
    left = response.body.encode()
    with body.write() as stream:
        for start in range(0, len(left), _CHUNK):
            stream.blocking_write_and_flush(left[start : start + _CHUNK])
    OutgoingBody.finish(body, None)
