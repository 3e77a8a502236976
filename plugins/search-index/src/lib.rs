//! A search provider: BM25 over the node's own catalogue
