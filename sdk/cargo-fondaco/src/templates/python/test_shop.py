"""The pages, without a node: python3 -m unittest"""

import unittest
from types import SimpleNamespace as Of

import shop
from fondaco import BadRequest, NotFound, Request, price


def work(id: str, title: str):
    offer = Of(price=Of(amount="499", asset="EUR", exponent=2))
    return Of(id=id, title=title, creators=["Ada"], description="Songs", license="CC0-1.0", offers=[offer])


class Node:
    """A node that keeps its works in a list, the newest first."""

    def __init__(self, *works):
        self.works = list(works)

    def brand(self):
        return Of(name="Night Owl", locale="en")

    def count(self):
        return len(self.works)

    def browse(self, cursor, limit):
        try:
            start = int(cursor or 0)
        except ValueError:
            raise BadRequest("cursor") from None
        end = start + limit
        return Of(works=self.works[start:end], next=str(end) if end < len(self.works) else None)

    def work(self, id):
        for work in self.works:
            if work.id == id:
                return work
        raise NotFound

    def search(self, text, cursor, limit):
        hits = [Of(work=work.id) for work in self.works if text.lower() in work.title.lower()]
        return Of(hits=hits, total=len(hits), next=None)


def get(node: Node, target: str):
    return shop.answer(node, Request("GET", target))


class Pages(unittest.TestCase):
    def test_leads_from_the_list_to_a_work_and_escapes_what_publishers_wrote(self):
        node = Node(work("key/night", "Night <Owl>"))
        home = get(node, "/").body
        self.assertIn('<a href="/works/key%2Fnight">Night &lt;Owl&gt;</a> Ada', home)
        page = get(node, "/works/key%2Fnight").body
        self.assertIn("<h1>Night &lt;Owl&gt;</h1>", page)
        self.assertIn("4.99 EUR", page)

    def test_long_lists_go_on(self):
        node = Node(*(work(f"key/{i}", f"Work {i}.") for i in range(shop.PAGE + 1)))
        first, second = get(node, "/").body, get(node, "/?after=24").body
        self.assertIn('<a href="/?after=24">More works</a>', first)
        self.assertNotIn("Work 24.", first)
        self.assertIn("Work 24.", second)
        self.assertNotIn("More works", second)

    def test_finds_what_is_looked_for_and_escapes_the_question(self):
        node = Node(work("key/a", "Alpha"), work("key/b", "Beta"))
        page = get(node, "/search?q=alp").body
        self.assertIn("Alpha", page)
        self.assertNotIn("Beta", page)
        self.assertIn('value="&quot;&gt;&lt;b&gt;"', get(node, "/search?q=%22%3E%3Cb%3E").body)

    def test_what_is_not_there_is_a_404(self):
        for target in ["/works/none", "/elsewhere"]:
            self.assertEqual(get(Node(), target).status, 404)

    def test_what_makes_no_sense_is_said_to_make_none(self):
        self.assertEqual(get(Node(), "/?after=x").status, 400)
        self.assertEqual(shop.answer(Node(), Request("POST", "/")).status, 405)

    def test_prices_read_as_people_write_them(self):
        texts = [price(Of(amount=a, asset="X", exponent=e)) for a, e in [("499", 2), ("5", 2), ("7", 0)]]
        self.assertEqual(texts, ["4.99 X", "0.05 X", "7 X"])


if __name__ == "__main__":
    unittest.main()
