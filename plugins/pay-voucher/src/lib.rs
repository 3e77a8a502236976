//! A payment gateway: prepaid Ed25519 codes
