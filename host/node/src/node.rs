//! The composition root: the one place that knows every part. It opens them in order, and stops them in the reverse.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use fondaco_ledger::{ClockBack, EntitlementBody, Ledger};
use fondaco_market::{Looks, Market, NodeKeys, Parts, Theme};
use fondaco_runtime::{Compiler, Outbound, Runtime};
use fondaco_schemas::{Deployment, Entitlement};
use fondaco_store::{Options, Store};
use fondaco_trust::{KeyPair, TrustStore};
use tokio::sync::{Mutex, watch};

use crate::fail::{Done, Fail, chain};
use crate::folder::Folder;
use crate::plugins::{self, Places, Trusted};

/// An opened deployment.
pub struct Node {
    /// Its folder.
    pub folder: Folder,
    /// Its file, as it was when the node was opened.
    pub deployment: Deployment,
    /// The flows.
    pub market: Market,
    /// What makes plugins of components.
    pub runtime: Runtime,
    /// The swarm, once it was started.
    pub swarm: tokio::sync::OnceCell<fondaco_net::Net>,
    /// What is being fetched from it.
    pub fetches: Arc<crate::fetches::Fetches>,
    /// The channels that are followed.
    pub channels: Arc<crate::channels::Channels>,
    /// What asks and answers searches there.
    pub finding: tokio::sync::OnceCell<Arc<crate::find::Finding>>,
    /// One change of the installed plugins at a time.
    pub installing: Mutex<()>,
    /// What runs, and what it was made of.
    pub places: Places,
    /// Which trust file was accepted last.
    pub trusted: Trusted,
    /// Says true once the node stops.
    pub stopping: watch::Sender<bool>,
}

impl Node {
    /// Opens keys, store, ledger and plugins. `base_url`: the public address, where it is not the one of the file.
    pub async fn open(folder: Folder, base_url: Option<String>) -> Done<Self> {
        Self::open_after(folder, base_url, ClockBack::Refuse).await
    }

    /// The same, where the clock may have been ahead before.
    pub async fn open_after(folder: Folder, base_url: Option<String>, clock_back: ClockBack) -> Done<Self> {
        let deployment = folder.deployment()?;
        let data = folder.data(&deployment);
        let keys = NodeKeys::new(load_key(&folder.node_key(&deployment))?);
        let publisher = load_key(&folder.publisher_key(&deployment))?;
        let options = Options { quota_bytes: deployment.storage.quota.map(fondaco_schemas::ByteSize::get) };
        let (blobs, database) = (data.join("blobs"), data.join(&deployment.database.file));
        let signing = keys.clone();
        let signer = Arc::new(move |body: &EntitlementBody| sign_entitlement(&signing, body));
        // Both check themselves as they open, each on a thread of its own.
        let store = tokio::task::spawn_blocking(move || Store::open(blobs, options));
        let of_ledger = fondaco_ledger::Options { clock_back, ..fondaco_ledger::Options::new(signer) };
        let ledger = tokio::task::spawn_blocking(move || Ledger::open(database, of_ledger));
        let compiler = compiler(data.join("cache"), &keys)?;
        let memory = usize::try_from(deployment.runtime.memory.get()).unwrap_or(usize::MAX);
        let runtime = tokio::task::spawn_blocking(move || Runtime::with_memory(compiler, memory));
        let store = store.await.map_err(Fail::failed)??;
        let ledger = ledger.await.map_err(Fail::failed)??;
        let client = crate::outbound::client(&folder, &deployment)?;
        let runtime = runtime.await.map_err(Fail::failed)??.reaching_out(Outbound::new(client));
        let (theme, problems) = Theme::read(folder.path(), &deployment.brand);
        for problem in problems {
            tracing::warn!("{problem}");
        }
        let market = Market::new(Parts {
            folder: folder.path().to_owned(),
            coming: data.join("coming"),
            looks: Looks { brand: deployment.brand.clone(), shop: deployment.shop.clone(), theme },
            base_url: base_url.unwrap_or_else(|| deployment.base_url()),
            shop: deployment.brand.base_url.as_ref().map(ToString::to_string),
            store,
            ledger,
            keys,
            publisher,
        });
        let trusted = Trusted::remembered(market.ledger()).await?;
        let (installing, places, stopping) = (Mutex::new(()), Places::default(), watch::Sender::new(false));
        let (swarm, finding, fetches) = (tokio::sync::OnceCell::new(), tokio::sync::OnceCell::new(), Arc::default());
        let channels = Arc::new(crate::channels::Channels::open(&data)?);
        let node = Self {
            folder,
            deployment,
            market,
            runtime,
            swarm,
            fetches,
            channels,
            finding,
            installing,
            places,
            trusted,
            stopping,
        };
        plugins::load_all(&node).await?;
        Ok(node)
    }

    /// `trust.toml`, if it is not older than one that was accepted before.
    pub async fn trust(&self) -> Done<TrustStore> {
        self.trusted.read(&self.folder, self.market.ledger()).await
    }

    /// Stops the swarm, and closes the ledger, which ends its writer.
    pub async fn close(&self) {
        self.market.set_bringer(None);
        if let Some(net) = self.swarm.get() {
            net.stop().await;
        }
        self.market.finish_trail().await;
        self.market.ledger().close().await;
    }
}

/// Compiles in a child of this same program.
pub fn compiler(cache: PathBuf, keys: &NodeKeys) -> Done<Compiler> {
    // This very program, also where its file was replaced by a newer one in the meantime.
    let program = PathBuf::from("/proc/self/exe");
    let own = || std::env::current_exe().map_err(|e| Fail::failed(format!("this program's own path: {e}")));
    let program = if program.exists() { program } else { own()? };
    Ok(Compiler::new(program, vec!["compile-plugin".into()], cache, keys.derive("cache", b"compiled plugins")))
}

/// Loads a key file; others must not be able to read it.
pub fn load_key(path: &std::path::Path) -> Done<KeyPair> {
    if !path.exists() {
        return Err(Fail::not_found(format!(
            "the key {} is missing: restore it from a backup. A new one (`fondaco key new --out {}`) makes a new identity",
            path.display(),
            path.display()
        )));
    }
    Ok(KeyPair::load(path)?)
}

/// Signs a right for its holder, so that another node can honour it.
fn sign_entitlement(keys: &NodeKeys, body: &EntitlementBody) -> Vec<u8> {
    let time = |at: time::OffsetDateTime| at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    let entitlement = Entitlement {
        id: body.id.clone(),
        work: body.work.clone(),
        release: body.release,
        offer: body.offer.clone(),
        holder: body.holder,
        granted: time(body.granted),
        expires: body.expires.map(time),
    };
    match fondaco_trust::sign(keys.pair(), &entitlement) {
        Ok(signed) => signed.encode(),
        Err(error) => {
            // Fields of bounded length always fit an envelope. A right without a signature still holds here.
            tracing::error!(error = %chain(&error), "a right was not signed");
            Vec::new()
        }
    }
}

/// The secrets of one plugin, from where the deployment file says.
pub fn secrets(
    folder: &Folder,
    references: &BTreeMap<String, fondaco_schemas::deployment::SecretRef>,
) -> Done<BTreeMap<String, String>> {
    use fondaco_schemas::deployment::SecretRef;
    let mut secrets = BTreeMap::new();
    for (name, reference) in references {
        let value = match reference {
            SecretRef::Env(variable) => std::env::var(variable)
                .map_err(|_| Fail::failed(format!("the secret {name:?}: the environment has no {variable}")))?,
            SecretRef::File(path) => {
                crate::folder::read_text(&folder.path().join(path))?.trim_end_matches(['\n', '\r']).to_owned()
            }
        };
        secrets.insert(name.clone(), value);
    }
    Ok(secrets)
}
