//! Works: publish, list, search, copy out; and the orders for them.

use std::io::Write;
use std::path::{Path, PathBuf};

use fondaco_market::{Progress, PublishOptions};
use fondaco_runtime::Context;
use fondaco_runtime::wit::search_types::{Query, Reach, Sort};
use fondaco_schemas::work_file::WORK_FILE;
use fondaco_schemas::{FileInfo, Link, ReleaseId, Work, WorkFile};

use crate::cli::{Get, Publish, Search};
use crate::fail::{Done, Fail};
use crate::folder::read_text;
use crate::named;
use crate::node::Node;
use crate::out::{Out, Said};

pub async fn publish(node: &Node, args: Publish, json: bool, out: &Out) -> Done {
    let description = description_of(&args);
    let about = WorkFile::parse(&read_text(&description)?)
        .map_err(|e| Fail::failed(e.to_string().replace(WORK_FILE, &description.display().to_string())))?;
    let progress = |step: Progress| match step {
        Progress::Begin { bytes, .. } => out.say(Said::Begin(bytes)),
        Progress::Bytes(bytes) => out.say(Said::Step(bytes)),
        Progress::Sealing(path) if !json => out.note(format!("sealing {path}")),
        Progress::Sealing(_) => {}
    };
    let options = PublishOptions { in_place: args.in_place };
    let published = node.market.publish(&args.source, &about, options, &progress).await;
    out.say(Said::End);
    let published = published?;
    let link = node.links().await.to(published.release);
    out.result(
        json,
        || {
            serde_json::json!({
                "work": published.work, "release": published.release, "sequence": published.sequence,
                "new": published.is_new, "files": published.files, "bytes": published.bytes, "link": link,
            })
        },
        || {
            let what = if published.is_new { "published" } else { "was published already:" };
            format!(
                "{what} {} (release {}, {} files, {} bytes)\n  {}{}",
                about.title,
                published.sequence,
                published.files,
                published.bytes,
                published.work,
                second(link.as_ref())
            )
        },
    );
    Ok(())
}

fn description_of(args: &Publish) -> PathBuf {
    let beside =
        || if args.source.is_dir() { args.source.join(WORK_FILE) } else { args.source.with_file_name(WORK_FILE) };
    args.work.clone().unwrap_or_else(beside)
}

pub async fn unpublish(node: &Node, work: &str, json: bool, out: &Out) -> Done {
    let work = find(node, work).await?;
    node.market.unpublish(&work.release.work).await?;
    out.result(
        json,
        || serde_json::json!({ "work": work.release.work }),
        || format!("unpublished {}", work.release.title),
    );
    Ok(())
}

/// A work of the catalogue, by its id, or by the slug of one that this node publishes.
pub async fn find(node: &Node, text: &str) -> Done<Work> {
    look(node, text).await?.ok_or_else(|| missing(text))
}

/// The same; where this node publishes none of a slug, that of another publisher.
pub async fn find_any(node: &Node, text: &str) -> Done<Work> {
    if let Some(work) = look(node, text).await? {
        return Ok(work);
    }
    match node.market.ledger().with_slug(text, 8).await?.as_slice() {
        [] => Err(missing(text)),
        [one] => find(node, &one.to_string()).await,
        several => {
            let ids: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(Fail::usage(format!("several publishers have a work {text:?}; name its id: {}", ids.join(", "))))
        }
    }
}

async fn look(node: &Node, text: &str) -> Done<Option<Work>> {
    let id = node.market.work_named(text).map_err(Fail::usage)?;
    Ok(node.market.ledger().work(&id).await?)
}

fn missing(text: &str) -> Fail {
    Fail::not_found(format!("there is no work {text:?} on this node; `fondaco works` lists them"))
}

pub async fn list(node: &Node, json: bool, out: &Out) -> Done {
    let mut cursor: Option<String> = None;
    let mut none = true;
    let links = node.links().await;
    loop {
        let page = node.market.ledger().browse(cursor.as_deref(), 100).await?;
        for work in &page.works {
            none = false;
            let link = links.to(work.release_id);
            out.result(
                json,
                || {
                    let mut value = serde_json::to_value(work).unwrap_or_default();
                    if let (Some(map), Some(link)) = (value.as_object_mut(), &link) {
                        map.insert("link".into(), link.as_str().into());
                    }
                    value
                },
                || describe(work) + &second(link.as_ref()),
            );
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    if none && !json {
        out.note("nothing is published yet: `fondaco publish <folder>`");
    }
    Ok(())
}

/// The link, on a line of its own.
fn second(link: Option<&String>) -> String {
    link.map(|link| format!("\n  {link}")).unwrap_or_default()
}

fn describe(work: &Work) -> String {
    let release = &work.release;
    let offers: Vec<String> = release.offers.iter().map(|o| format!("{} {}", o.id, o.price)).collect();
    let price = if offers.is_empty() { "free".to_owned() } else { offers.join(", ") };
    format!("{:<24} {:<10} {}  ({price})", release.work.slug(), release.kind.as_str(), release.title)
}

pub async fn search(node: &Node, args: Search, json: bool, out: &Out) -> Done {
    node.market.feed().await?;
    let query = Query {
        text: args.text.join(" "),
        kinds: Vec::new(),
        tags: Vec::new(),
        language: None,
        max_price: None,
        drm_free: false,
        facets: Vec::new(),
        sort: Sort::Relevance,
        cursor: None,
        limit: args.limit,
        reach: match (args.peers, args.trusted) {
            (_, true) => Reach::TrustedPeers,
            (true, false) => Reach::Everyone,
            (false, false) => Reach::LocalOnly,
        },
        wait_ms: args.wait,
    };
    let results = if query.reach == Reach::LocalOnly {
        node.market.search(&Context::node(), query).await?
    } else {
        super::find::ask(node, query, json, out).await?
    };
    for hit in &results.hits {
        if hit.via.is_some() {
            super::find::show(node, hit, json, out);
            continue;
        }
        let Ok(id) = hit.work.parse() else { continue };
        let Some(work) = node.market.ledger().work(&id).await? else { continue };
        let because: Vec<_> = hit.because.iter().map(|(why, weight)| serde_json::json!([why, weight])).collect();
        out.result(
            json,
            || serde_json::json!({ "work": hit.work, "title": work.release.title, "score": hit.score, "because": because }),
            || describe(&work),
        );
    }
    if results.hits.is_empty() && !json {
        out.note("nothing found");
    }
    Ok(())
}

pub async fn get(node: &Node, args: Get, json: bool, out: &Out) -> Done {
    let work = if named::is_elsewhere(&args.work) {
        let named = named::read(node, &args.work).await?;
        match here(node, named.link.release).await? {
            Some(work) if named.work.as_ref().is_none_or(|named| *named == work.release.work) => work,
            _ => crate::swarm::fetch(node, &named, json, out).await?,
        }
    } else {
        match find_any(node, &args.work).await? {
            // It is listed here, and its files are with others.
            work if node.market.is_coming(work.release_id) => {
                crate::swarm::fetch(node, &Link::to(work.release_id).into(), json, out).await?
            }
            work => work,
        }
    };
    // What the folder of a work from elsewhere is called is known only now.
    let beside = args.beside.unwrap_or_default();
    let folder = args.out.unwrap_or_else(|| beside.join(work.release.work.slug()));
    copy_work(node, &work, folder, json, out).await
}

/// A release whose files are kept here: nobody need be asked for it.
async fn here(node: &Node, release_id: ReleaseId) -> Done<Option<Work>> {
    let known = node.market.ledger().release(release_id).await?.map(|(release, _)| Work { release_id, release });
    Ok(known.filter(|work| !node.market.is_coming(release_id) && node.market.all_here(&work.release)))
}

/// Copies a work's files to a folder.
async fn copy_work(node: &Node, work: &Work, folder: PathBuf, json: bool, out: &Out) -> Done {
    let own = *work.release.work.publisher() == node.market.publisher();
    let is_left = |f: &FileInfo| !own && !work.release.is_public(f) && !node.market.store().has(f.hash);
    let (left, files): (Vec<_>, Vec<_>) = work.release.files.iter().cloned().partition(is_left);
    for file in &files {
        if !Path::new(&file.path).components().all(|c| matches!(c, std::path::Component::Normal(_))) {
            return Err(Fail::refused(format!("the release names a file outside its folder: {:?}", file.path)));
        }
    }
    let (count, sealed) = (files.len(), files.iter().filter(|f| f.protection.is_some()).count());
    out.say(Said::Begin(files.iter().map(|f| f.size).sum()));
    for file in files {
        let (store, target) = (node.market.store().clone(), folder.join(target_name(&file)));
        let (steps, mut read) = tokio::sync::mpsc::channel(8);
        let task = tokio::task::spawn_blocking(move || {
            copy_out(&store.get(file.hash)?, &target, &steps)
                .map_err(|e| Fail::failed(format!("{}: {e}", target.display())))
        });
        while let Some(bytes) = read.recv().await {
            out.say(Said::Step(bytes));
        }
        task.await.map_err(Fail::failed)??;
    }
    out.say(Said::End);
    let shop = work.release.home.as_ref().and_then(|home| home.page_of(&work.release.work));
    let left: Vec<String> = left.into_iter().map(|file| file.path).collect();
    out.result(
        json,
        || {
            serde_json::json!({
                "work": work.release.work, "folder": folder, "sealed": sealed, "left": left, "shop": shop,
            })
        },
        || format!("{count} files in {}", folder.display()),
    );
    let place = crate::swarm::where_to_buy(&work.release);
    if !left.is_empty() && !json {
        let names = left.join(", ");
        out.note(format!(
            "not among them, since its publisher alone delivers what is sold without a lock: {names}; {place}"
        ));
    }
    if sealed > 0 && !json {
        out.note(format!(
            "{sealed} of them are sealed: {place}, save the licences and the library's key from the library there, and run \
             `fondaco open <file>.sealed --licence <file>.licence --key library.key`"
        ));
    }
    Ok(())
}

fn target_name(file: &fondaco_schemas::FileInfo) -> String {
    if file.protection.is_some() { format!("{}.sealed", file.path) } else { file.path.clone() }
}

/// Copies a blob to a file that appears when it is whole.
fn copy_out(blob: &fondaco_store::Blob, target: &Path, steps: &tokio::sync::mpsc::Sender<u64>) -> std::io::Result<()> {
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    let mut file = std::fs::File::create(&name)?;
    let mut reader = blob.reader();
    while let Some(piece) = reader.piece().map_err(std::io::Error::other)? {
        file.write_all(&piece)?;
        let _ = steps.blocking_send(piece.len() as u64);
    }
    file.sync_all()?;
    std::fs::rename(&name, target)
}

pub async fn orders(node: &Node, limit: u32, json: bool, out: &Out) -> Done {
    let orders = node.market.ledger().orders(None, None, limit).await?;
    for order in &orders {
        let due = &order.balance.due;
        let note = if due.is_zero() { String::new() } else { format!(", {due} due") };
        let over = &order.balance.over;
        let note = if over.is_zero() { note } else { format!("{note}, {over} too much") };
        let gateway = order.gateway.as_deref().unwrap_or("-");
        out.result(
            json,
            || serde_json::to_value(order).unwrap_or_default(),
            || {
                format!(
                    "{}  {}  {:<9}  {:>12}  {}  {gateway}{note}",
                    order.created.date(),
                    order.id,
                    order.state,
                    order.total,
                    order.work.slug()
                )
            },
        );
    }
    if orders.is_empty() && !json {
        out.note("no orders yet");
    }
    Ok(())
}
