// Help for storefronts in JavaScript: HTML that escapes by itself, addresses, prices, pages as responses.
//
// Nothing in here knows the node, so pages can be tested with plain `node --test`. What the node lends is in `node.js`.

/** There is no such work, or no such page: answer 404. */
export class NotFound extends Error {}

/** The question makes no sense, such as a page number that is none: answer 400. */
export class BadRequest extends Error {}

/** The node does not answer this just now: answer 503. */
export class Unavailable extends Error {}

/** Text that is HTML already. Anything else is escaped where it enters a page. */
export class Html {
  #text;
  /** @param {string} text */
  constructor(text) {
    this.#text = text;
  }
  toString() {
    return this.#text;
  }
}

const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/**
 * Markup: html`<p>${text}</p>`. What is put in is text, unless it is `Html`; an array is its parts, one by one; nothing
 * (`undefined`, `null`, `false`) is nothing.
 * @param {TemplateStringsArray} strings
 * @param {...unknown} values
 */
export function html(strings, ...values) {
  return new Html(strings.reduce((whole, string, i) => whole + markup(values[i - 1]) + string));
}

/** @param {unknown} value @returns {string} */
function markup(value) {
  if (value instanceof Html) return value.toString();
  if (Array.isArray(value)) return value.map(markup).join('');
  if (value === undefined || value === null || value === false) return '';
  return String(value).replace(/[&<>"']/g, (c) => ESCAPES[/** @type {keyof typeof ESCAPES} */ (c)]);
}

/**
 * Text as one segment of an address: a work's id is `<key>/<slug>`, and its page `/works/<key>%2F<slug>`.
 * @param {string} text
 */
export const encode = encodeURIComponent;

/**
 * The path's segments, decoded: `/works/a%2Fb` is `["works", "a/b"]`. What cannot be decoded is no page.
 * @param {URL} url
 */
export function segments(url) {
  try {
    return url.pathname.split('/').filter(Boolean).map(decodeURIComponent);
  } catch {
    throw new NotFound(url.pathname);
  }
}

/**
 * EUR 499 with exponent 2 is "4.99 EUR". All in whole numbers: money is never a float.
 * @param {{ amount: string, asset: string, exponent: number }} money
 */
export function price({ amount, asset, exponent }) {
  const digits = amount.padStart(exponent + 1, '0');
  const whole = digits.slice(0, digits.length - exponent);
  const part = digits.slice(digits.length - exponent);
  return part && exponent ? `${whole}.${part} ${asset}` : `${whole} ${asset}`;
}

/**
 * A response with a page. Security headers are the node's own.
 * @param {Html} page
 */
export function respond(page, status = 200) {
  return new Response(page.toString(), { status, headers: { 'content-type': 'text/html; charset=utf-8' } });
}
