//! Keys, signatures, bundles and the trust store: pure functions over bytes and a clock
