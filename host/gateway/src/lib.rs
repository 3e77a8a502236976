//! The node over HTTP: storefronts, files, licences, webhooks, health and metrics
