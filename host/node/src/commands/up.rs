//! `fondaco up`: runs the node until it is told to stop, then stops in order: nothing new is accepted, what is under way
//! ends within its time, the data is closed.

use std::sync::Arc;

use fondaco_gateway::{Gateway, Limits};
use fondaco_ledger::ClockBack;
use fondaco_schemas::Deployment;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::Up;
use crate::control;
use crate::fail::{Done, Fail};
use crate::fetches;
use crate::folder::Folder;
use crate::node::Node;
use crate::out::Out;
use crate::plugins;
use crate::{following, membership, mirroring, receipts, swarm};

/// How long each part may take to stop; the gateway drains within less.
const STOPPING: std::time::Duration = std::time::Duration::from_secs(15);

/// Runs the node.
pub async fn up(folder: Folder, args: &Up, json: bool, out: &Out) -> Done {
    let deployment = folder.deployment()?;
    swarm::config(&deployment, &folder.data(&deployment))?;
    if deployment.network.enabled {
        membership::own(&folder, &deployment)?;
    }
    let address = args.listen.unwrap_or(deployment.gateway.listen);
    // The port is taken before the data is opened: a second node on the same port harms nothing and says so at once.
    let listener = Gateway::bind(address).await.map_err(Fail::unavailable)?;
    let bound = listener.local_addr().map_err(Fail::failed)?;
    let base_url = deployment.brand.base_url.is_none().then(|| format!("http://{bound}"));
    let clock_back = if args.clock_was_wrong { ClockBack::Accept } else { ClockBack::Refuse };
    let node = Arc::new(Node::open_after(folder, base_url, clock_back).await?);
    let socket = control::listen(&node.folder.socket(&node.deployment))?;
    let gateway = Gateway::new(listener, node.market.clone(), limits(&node.deployment));
    let url = node.market.base_url().to_owned();
    if node.deployment.network.enabled {
        let net = node.swarm.get_or_try_init(|| node.start_swarm(true)).await?.clone();
        let (fetches, market, web) = (node.fetches.clone(), node.market.clone(), node.web()?);
        let cache = node.deployment.network.cache.get();
        node.market.set_bringer(Some(Arc::new(fetches::FromSwarm { fetches, net, web, market, cache })));
    }
    let gateway = match node.swarm.get().cloned() {
        Some(net) => gateway
            .with_metrics(swarm::metrics(net.clone()))
            .with_swarm(swarm::ask_sharing(node.market.clone(), net), swarm::ask_link(node.clone())),
        None => gateway,
    };
    let stopped = node.stopping.subscribe();
    // Before anybody is told that the node is up: from then on it may be told to stop.
    let mut signals = Signals::new()?;

    let serving = tokio::spawn(gateway.serve(stopped.clone()));
    let feeding = tokio::spawn({
        let (market, stopped) = (node.market.clone(), stopped.clone());
        async move { market.keep_feeding(stopped).await }
    });
    let settling = tokio::spawn({
        let (market, stopped) = (node.market.clone(), stopped.clone());
        async move { market.keep_reconciling(stopped).await }
    });
    let tidying = tokio::spawn({
        let (market, stopped) = (node.market.clone(), stopped.clone());
        async move { market.keep_tidy(stopped).await }
    });
    let auditing = tokio::spawn({
        let (market, stopped) = (node.market.clone(), stopped.clone());
        async move { market.keep_trail(stopped).await }
    });
    let watching = tokio::spawn(plugins::keep_watching(node.clone(), stopped.clone()));
    let trying = tokio::spawn(plugins::keep_watching_trials(node.clone(), stopped.clone()));
    let announcing = tokio::spawn({
        let (market, net, stopped) = (node.market.clone(), node.swarm.get().cloned(), stopped.clone());
        async move {
            if let Some(net) = net {
                swarm::keep_announcing(market, net, stopped).await;
            }
        }
    });
    let following = tokio::spawn({
        let (node, net, stopped) = (node.clone(), node.swarm.get().cloned(), stopped.clone());
        async move {
            if let Some(net) = net {
                tokio::join!(
                    following::keep_following(node.clone(), net.clone(), stopped.clone()),
                    mirroring::keep_mirroring(node, net, stopped),
                );
            }
        }
    });
    let receipting = tokio::spawn({
        let (node, stopped) = (node.clone(), stopped.clone());
        async move {
            if let Some(net) = node.swarm.get().cloned() {
                receipts::keep_sending(&node, net, stopped).await;
            }
        }
    });
    let controlling = tokio::spawn(control::serve(socket, node.clone(), stopped));

    let addresses: Vec<String> = match node.swarm.get() {
        Some(net) => net.addresses().await?.iter().map(ToString::to_string).collect(),
        None => Vec::new(),
    };
    out.result(
        json,
        || serde_json::json!({ "event": "ready", "url": url, "listen": bound.to_string(), "swarm": addresses }),
        || format!("{} is open at {url}/", node.deployment.brand.name),
    );
    signals.next().await;
    if !json {
        out.note("stopping; once more stops at once");
    }
    node.stopping.send_replace(true);
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(1);
    });
    for mut task in [
        serving,
        feeding,
        settling,
        tidying,
        auditing,
        watching,
        trying,
        announcing,
        following,
        receipting,
        controlling,
    ] {
        match tokio::time::timeout(STOPPING, &mut task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a part of the node did not stop as it should"),
            Err(_) => {
                tracing::warn!("a part of the node did not stop in time");
                task.abort();
            }
        }
    }
    let _ = std::fs::remove_file(node.folder.socket(&node.deployment));
    node.close().await;
    Ok(())
}

fn limits(deployment: &Deployment) -> Limits {
    let given = &deployment.gateway.limits;
    let size = |n: fondaco_schemas::ByteSize| usize::try_from(n.get()).unwrap_or(usize::MAX);
    Limits {
        connections: given.connections as usize,
        connections_per_address: given.connections_per_address as usize,
        header_bytes: size(given.headers),
        body_bytes: size(given.body),
        // One clock for both: a connection is idle until the next request's headers have come.
        header_time: given.header_time.duration().max(given.idle.duration().min(given.header_time.duration() * 2)),
        body_time: given.body_time.duration(),
        write_stall: given.stall.duration(),
        ..Limits::default()
    }
}

/// Ctrl-c, or SIGTERM from whoever supervises the node.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Done<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(Fail::failed)?,
            terminate: signal(SignalKind::terminate()).map_err(Fail::failed)?,
        })
    }
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
