"""The component: the shop's pages with the node behind them."""

import node
import shop

IncomingHandler = node.storefront(lambda request: shop.answer(node, request))
