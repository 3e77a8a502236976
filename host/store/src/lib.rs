//! Content-addressed blobs by BLAKE3 with Bao outboards
