//! Waiting for the node is not computing: it counts against the wall time and not against the deadline.

#![allow(clippy::unwrap_used, reason = "a test fails where it is wrong")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fondaco_runtime::wit::settings::Brand;
use fondaco_runtime::{CallError, Caller, Lent, Limits, Services};
use fondaco_schemas::Capability;

/// Takes 15 ms for each look into the storage.
struct Slow;

#[async_trait]
impl Services for Slow {
    async fn storage_get(&self, _: &Caller, _: Vec<u8>) -> Lent<Option<Vec<u8>>> {
        tokio::time::sleep(Duration::from_millis(15)).await;
        Ok(None)
    }
    async fn brand(&self, by: &Caller) -> Brand {
        common::Silent.brand(by).await
    }
    async fn settings(&self, _: &Caller) -> String {
        "{}".into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_waits_has_not_used_up_its_deadline() {
    // Forty looks of 15 ms are six deadlines long; the guest looks until it may no more.
    let limits = Limits { deadline: Duration::from_millis(100), host_calls: 40, ..Limits::default() };
    let mut spec = common::spec(common::hostile(), common::grants(&[Capability::Storage]), limits);
    spec.services = Arc::new(Slow);
    let plugin = common::runtime().load(spec).await.unwrap();
    let error = common::find(&plugin, "host-calls").await.unwrap_err();
    assert!(matches!(error, CallError::HostCalls { .. }), "{error}");
    let error = common::find(&plugin, "spin").await.unwrap_err();
    assert!(matches!(error, CallError::Deadline { .. }), "computing still counts: {error}");
}
