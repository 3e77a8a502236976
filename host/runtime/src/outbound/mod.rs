//! A plugin's calls of web services: `wasi:http/outgoing-handler`, sent by ourselves. The linker holds it only where the
//! manifest asks for hosts and the operator granted them (`link.rs`); here each request is held to that grant, to the
//! plugin's rate (`rate.rs`), connections and daily bytes, and goes out through the vetted client (`host/fetch`).
//!
//! A request passes, in this order: rate → host and headers → a free connection → its body, whole → secrets → the client.
//! Never: a redirect followed, a name looked up twice, a secret in a guest's memory, a connection that outlives its call.

mod account;
mod explain;
mod grant;
mod sender;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fondaco_fetch::Client;

pub(crate) use account::Account;
pub use account::CONNECTIONS;
pub use grant::{HttpGrant, Secret};
pub use sender::MAX_REQUEST_BODY;
pub(crate) use sender::{PluginHttp, Sender};

/// The client that all plugins call through, and what each of them has used.
#[derive(Clone)]
pub struct Outbound {
    client: Client,
    // By plugin id, not by version or instance: a reload gives nobody a new budget.
    accounts: Arc<Mutex<BTreeMap<String, Arc<Account>>>>,
}

impl Outbound {
    /// Through this client.
    pub fn new(client: Client) -> Self {
        Self { client, accounts: Arc::default() }
    }

    pub(crate) fn account(&self, plugin: &str) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.entry(plugin.to_owned()).or_default().clone()
    }
}
