// The component: the shop's pages with the node behind them.

import * as node from './node.js';
import { answer } from './shop.js';

addEventListener('fetch', (event) => {
  const { request } = /** @type {FetchEvent} */ (event);
  /** @type {FetchEvent} */ (event).respondWith(answer(node, request));
});
