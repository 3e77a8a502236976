// A shop: a list of works, a page for each, and search.

import { BadRequest, NotFound, Unavailable, encode, html, price, respond, segments } from './fondaco.js';

/** @typedef {import('./fondaco.js').Html} Html */
/** @typedef {typeof import('./node.js')} Node */
/** @typedef {ReturnType<Node['work']>} Work */

/** Works on one page of a list. */
export const PAGE = 24;

const STYLE = `
body { max-width: 50rem; margin: 0 auto; padding: 1rem; font-family: var(--font-body, sans-serif); line-height: 1.5; }
header { display: flex; flex-wrap: wrap; gap: 1rem; justify-content: space-between; align-items: center; }
.skip:not(:focus) { position: absolute; left: -100vw; }
`;

/**
 * Answers one request. `node` is the module of that name, or a test's own.
 * @param {Node} node
 * @param {Request} request
 */
export function answer(node, request) {
  const url = new URL(request.url);
  const after = url.searchParams.get('after') ?? undefined;
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return respond(page(node, 'Not like this', html`<p>This page can only be read.</p>`), 405);
  }
  try {
    const [first, second, ...more] = segments(url);
    if (first === undefined) return home(node, after);
    if (first === 'works' && second !== undefined && more.length === 0) return show(node, node.work(second));
    if (first === 'search' && second === undefined) return search(node, url.searchParams.get('q') ?? '', after);
    if (first === 'style.css' && second === undefined) {
      const headers = { 'content-type': 'text/css', 'cache-control': 'public, max-age=3600' };
      return new Response(STYLE, { headers });
    }
    throw new NotFound();
  } catch (error) {
    if (error instanceof NotFound) {
      return respond(page(node, 'Not here', html`<p>There is no such page.</p>`), 404);
    }
    if (error instanceof BadRequest) {
      return respond(page(node, 'Not understood', html`<p>Please begin anew at the front page.</p>`), 400);
    }
    if (error instanceof Unavailable) {
      return respond(page(node, 'Closed', html`<p>Please try again in a minute.</p>`), 503);
    }
    throw error;
  }
}

/** @param {Node} node @param {string | undefined} after */
function home(node, after) {
  const found = node.browse(after, PAGE);
  const more = found.next && html`<p><a href="/?after=${encode(found.next)}">More works</a></p>`;
  const count = node.count();
  const body = html`<p>${count} ${count === 1n ? 'work' : 'works'}</p>${works(found.works)}${more}`;
  return respond(page(node, node.brand().name, body, { isHome: true }));
}

/** @param {Node} node @param {Work} work */
function show(node, work) {
  const offers = work.offers.map((offer) => html`<li>${price(offer.price)}</li>`);
  const body = html`<p>${work.creators.join(', ')}</p><p>${work.description}</p>
<h2>Offers</h2><ul>${offers}</ul>
${work.license && html`<p>Licence: ${work.license}</p>`}
<p><a href="/">All works</a></p>`;
  return respond(page(node, work.title, body));
}

/** @param {Node} node @param {string} text @param {string | undefined} after */
function search(node, text, after) {
  if (!text) return respond(page(node, 'Search', html`<p>What are you looking for?</p>`));
  const results = node.search(text, after, PAGE);
  const found = results.hits.flatMap((hit) => {
    try {
      return [node.work(hit.work)];
    } catch (error) {
      // Taken out of the catalogue a moment ago.
      if (error instanceof NotFound) return [];
      throw error;
    }
  });
  const next = results.next && html`<p><a href="/search?q=${encode(text)}&amp;after=${encode(results.next)}">More results</a></p>`;
  return respond(page(node, `Search: ${text}`, html`<p>${results.total} found</p>${works(found)}${next}`, { text }));
}

/** @param {Work[]} works */
function works(works) {
  const row = (/** @type {Work} */ work) =>
    html`<li><a href="/works/${encode(work.id)}">${work.title}</a> ${work.creators.join(', ')}</li>`;
  return html`<ul>${works.map(row)}</ul>`;
}

/**
 * A whole page.
 * @param {Node} node
 * @param {string} title
 * @param {Html} body
 */
function page(node, title, body, { text = '', isHome = false } = {}) {
  const brand = node.brand();
  return html`<!doctype html>
<html lang="${brand.locale}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${isHome ? title : `${title} · ${brand.name}`}</title>
<link rel="stylesheet" href="/theme/tokens.css">
<link rel="stylesheet" href="/style.css">
</head>
<body>
<a class="skip" href="#content">Skip to content</a>
<header>
<a href="/">${brand.name}</a>
<form role="search" action="/search" method="get">
<label for="q">Search</label> <input id="q" name="q" type="search" value="${text}"> <button>Search</button>
</form>
</header>
<main id="content">
<h1>${title}</h1>
${body}
</main>
</body>
</html>`;
}
