// The pages, without a node: npm test

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BadRequest, NotFound, price } from '../src/fondaco.js';
import { PAGE, answer } from '../src/shop.js';

const offers = [{ price: { amount: '499', asset: 'EUR', exponent: 2 } }];
const work = (id, title) => ({ id, title, creators: ['Ada'], description: 'Songs', license: 'CC0-1.0', offers });

/** A node that keeps its works in a list, the newest first. */
const nodeWith = (...works) => ({
  brand: () => ({ name: 'Night Owl', locale: 'en' }),
  count: () => BigInt(works.length),
  browse(cursor, limit) {
    const start = Number(cursor ?? 0);
    if (Number.isNaN(start)) throw new BadRequest('cursor');
    const end = start + limit;
    return { works: works.slice(start, end), next: end < works.length ? String(end) : undefined };
  },
  work(id) {
    const found = works.find((work) => work.id === id);
    if (!found) throw new NotFound();
    return found;
  },
  search(text) {
    const hits = works.filter((work) => work.title.toLowerCase().includes(text)).map((work) => ({ work: work.id }));
    return { hits, total: BigInt(hits.length) };
  },
});

const get = (node, path) => answer(node, new Request(`http://shop.example${path}`));
const text = (node, path) => get(node, path).text();

test('leads from the list to a work and escapes what publishers wrote', async () => {
  const node = nodeWith(work('key/night', 'Night <Owl>'));
  assert.match(await text(node, '/'), /<a href="\/works\/key%2Fnight">Night &lt;Owl&gt;<\/a> Ada/);
  const page = await text(node, '/works/key%2Fnight');
  assert.match(page, /<h1>Night &lt;Owl&gt;<\/h1>/);
  assert.match(page, /4\.99 EUR/);
});

test('long lists go on', async () => {
  const node = nodeWith(...Array.from({ length: PAGE + 1 }, (_, i) => work(`key/${i}`, `Work ${i}.`)));
  const [first, second] = [await text(node, '/'), await text(node, '/?after=24')];
  assert.match(first, /<a href="\/\?after=24">More works<\/a>/);
  assert.doesNotMatch(first, /Work 24\./);
  assert.match(second, /Work 24\./);
  assert.doesNotMatch(second, /More works/);
});

test('finds what is looked for and escapes the question', async () => {
  const node = nodeWith(work('key/a', 'Alpha'), work('key/b', 'Beta'));
  const page = await text(node, '/search?q=alp');
  assert.match(page, /Alpha/);
  assert.doesNotMatch(page, /Beta/);
  assert.match(await text(node, '/search?q=%22%3E%3Cb%3E'), /value="&quot;&gt;&lt;b&gt;"/);
});

test('what is not there is a 404', () => {
  for (const path of ['/works/none', '/elsewhere', '/works/%E0%A4%A']) {
    assert.equal(get(nodeWith(), path).status, 404, path);
  }
});

test('what makes no sense is said to make none', () => {
  assert.equal(get(nodeWith(), '/?after=x').status, 400);
  assert.equal(answer(nodeWith(), new Request('http://shop.example/', { method: 'POST' })).status, 405);
});

test('prices read as people write them', () => {
  const texts = [['499', 2], ['5', 2], ['7', 0]].map(([amount, exponent]) => price({ amount, exponent, asset: 'X' }));
  assert.deepEqual(texts, ['4.99 X', '0.05 X', '7 X']);
});
