"""A shop: a list of works, a page for each, and search."""

from fondaco import BadRequest, Html, NotFound, Request, Response, Unavailable, encode, html, price

#: Works on one page of a list.
PAGE = 24

STYLE = """
body { max-width: 50rem; margin: 0 auto; padding: 1rem; font-family: var(--font-body, sans-serif); line-height: 1.5; }
header { display: flex; flex-wrap: wrap; gap: 1rem; justify-content: space-between; align-items: center; }
.skip:not(:focus) { position: absolute; left: -100vw; }
"""


def answer(node, request: Request) -> Response:
    """Answers one request. `node` is the module of that name, or a test's own."""
    if request.method not in ("GET", "HEAD"):
        return page(node, "Not like this", html("<p>This page can only be read.</p>"), status=405)
    try:
        match request.segments:
            case []:
                return home(node, request.query("after"))
            case ["works", id]:
                return show(node, node.work(id))
            case ["search"]:
                return search(node, request.query("q") or "", request.query("after"))
            case ["style.css"]:
                return Response(STYLE, media_type="text/css", headers=[("cache-control", "public, max-age=3600")])
            case _:
                raise NotFound
    except NotFound:
        return page(node, "Not here", html("<p>There is no such page.</p>"), status=404)
    except BadRequest:
        return page(node, "Not understood", html("<p>Please begin anew at the front page.</p>"), status=400)
    except Unavailable:
        return page(node, "Closed", html("<p>Please try again in a minute.</p>"), status=503)


def home(node, after: str | None) -> Response:
    found = node.browse(after, PAGE)
    count = node.count()
    body = [html("<p>{} {}</p>", count, "work" if count == 1 else "works"), works(found.works)]
    if found.next:
        body.append(html('<p><a href="/?after={}">More works</a></p>', encode(found.next)))
    return page(node, node.brand().name, html("{}", body), is_home=True)


def show(node, work) -> Response:
    body = html(
        '<p>{}</p><p>{}</p><h2>Offers</h2><ul>{}</ul>{}<p><a href="/">All works</a></p>',
        ", ".join(work.creators),
        work.description,
        [html("<li>{}</li>", price(offer.price)) for offer in work.offers],
        html("<p>Licence: {}</p>", work.license) if work.license else Html(),
    )
    return page(node, work.title, body)


def search(node, text: str, after: str | None) -> Response:
    if not text:
        return page(node, "Search", html("<p>What are you looking for?</p>"))
    results = node.search(text, after, PAGE)
    found = []
    for hit in results.hits:
        try:
            found.append(node.work(hit.work))
        except NotFound:
            # Taken out of the catalogue a moment ago.
            continue
    body = [html("<p>{} found</p>", results.total), works(found)]
    if results.next:
        link = '<p><a href="/search?q={}&amp;after={}">More results</a></p>'
        body.append(html(link, encode(text), encode(results.next)))
    return page(node, f"Search: {text}", html("{}", body), text=text)


def works(works: list) -> Html:
    rows = [
        html('<li><a href="/works/{}">{}</a> {}</li>', encode(work.id), work.title, ", ".join(work.creators))
        for work in works
    ]
    return html("<ul>{}</ul>", rows)


def page(node, title: str, body: Html, *, status: int = 200, text: str = "", is_home: bool = False) -> Response:
    """A whole page."""
    brand = node.brand()
    whole = html(
        '<!doctype html><html lang="{}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>{}</title>'
        '<link rel="stylesheet" href="/theme/tokens.css"><link rel="stylesheet" href="/style.css"></head>'
        '<body><a class="skip" href="#content">Skip to content</a><header><a href="/">{}</a>'
        '<form role="search" action="/search" method="get"><label for="q">Search</label> '
        '<input id="q" name="q" type="search" value="{}"> <button>Search</button></form></header>'
        '<main id="content"><h1>{}</h1>{}</main></body></html>',
        brand.locale,
        title if is_home else f"{title} · {brand.name}",
        brand.name,
        text,
        title,
        body,
    )
    return Response(whole, status)
