//! A DRM scheme: one ciphertext for all, a licence for each holder
