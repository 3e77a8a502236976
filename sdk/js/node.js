// What the node lends to a storefront. The modules named `fondaco:plugin/…` are the node's; their types are in `types/`,
// which `cargo fondaco build` makes of `wit/`. To use more of the node, add the interface to `wit/world.wit` and to
// `plugin.toml`.

import * as catalogue from 'fondaco:plugin/catalogue@0.2.0';
import * as discovery from 'fondaco:plugin/discovery@0.2.0';
import * as settings from 'fondaco:plugin/settings@0.2.0';

import { BadRequest, NotFound, Unavailable } from './fondaco.js';

/**
 * Calls the node; what it refuses becomes an error of ours.
 * @template T
 * @param {() => T} call
 */
function ask(call) {
  try {
    return call();
  } catch (error) {
    const refusal = /** @type {{ payload?: { tag?: string, val?: string } }} */ (error).payload;
    if (refusal === undefined) throw error;
    if (refusal.tag === 'not-found') throw new NotFound();
    if (refusal.tag === 'invalid') throw new BadRequest(refusal.val);
    throw new Unavailable(refusal.val ?? refusal.tag);
  }
}

/** The shop's name and looks. */
export const brand = () => settings.getBrand();

/**
 * Works, the newest first; `cursor` is the page before's `next`.
 * @param {string | undefined} cursor
 * @param {number} limit
 */
export const browse = (cursor, limit) => ask(() => catalogue.browse(cursor, limit));

/** How many works there are. */
export const count = () => ask(() => catalogue.count());

/**
 * The newest release of a work.
 * @param {string} id
 */
export const work = (id) => ask(() => catalogue.get(id));

/**
 * Asks the search providers that the operator installed.
 * @param {string} text
 * @param {string | undefined} cursor
 * @param {number} limit
 */
export const search = (text, cursor, limit) =>
  ask(() =>
    discovery.search({
      text,
      kinds: [],
      tags: [],
      drmFree: false,
      facets: [],
      sort: 'relevance',
      cursor,
      limit,
      reach: 'local-only',
      waitMs: 0,
    }),
  );
