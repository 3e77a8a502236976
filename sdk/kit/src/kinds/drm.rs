//! DRM schemes: what was protected opens again with its licence, byte for byte, for its holder; a right that has ended
//! gives none.

use std::sync::Arc;

use fondaco_runtime::wit::drm_types::{License, LicenseState, Secrecy};
use fondaco_runtime::wit::types::{Entitlement, EntitlementState, Error, FileInfo, FileRole, HttpMessage, Terms, Work};
use fondaco_runtime::{Context, Plugin, ScriptOf};

use super::{Depth, bytes, texts};
use crate::bench::Bench;
use crate::common::{Calls, Done, advice, answered, shown};
use crate::edits::{EditError, carry_out};
use crate::host::{Host, holder};
use crate::report::{Draft, Report};
use crate::works::PUBLISHED;

/// Lengths of files, in bytes, around the seams of what schemes cut files into.
const SIZES: [usize; 7] = [0, 1, 1_000, 65_535, 65_536, 65_537, 300_001];
/// Edits at a time, as odd as nodes may ask.
const PORTIONS: [u32; 3] = [1, 3, 512];

fn clear(size: usize) -> Vec<u8> {
    (0..size).map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap_or_default()).collect()
}

fn file(host: &Host, path: &str, bytes: &[u8], protection: Option<&str>) -> FileInfo {
    FileInfo {
        path: path.into(),
        hash: host.keep(bytes.to_vec()),
        size: bytes.len() as u64,
        media_type: "application/epub+zip".into(),
        role: FileRole::Content,
        protection: protection.map(str::to_owned),
        title: None,
        duration_ms: None,
    }
}

fn sealed_work(host: &Host) -> (Work, Terms) {
    let works = host.catalogue();
    let sealed = works.iter().find(|w| w.offers.iter().any(|o| o.terms.scheme.is_some()));
    let work = sealed.or(works.first()).cloned().unwrap_or_else(|| crate::works::catalogue().0.remove(0));
    let terms = work.offers.first().map(|o| o.terms.clone());
    let none = Terms {
        scheme: None,
        lasts: None,
        devices: None,
        territories: vec![],
        available_from: None,
        available_until: None,
    };
    (work, terms.unwrap_or(none))
}

fn entitlement(work: &Work, id: &str, state: EntitlementState) -> Entitlement {
    Entitlement {
        id: id.into(),
        work: work.id.clone(),
        release: work.release.clone(),
        offer: "buy".into(),
        holder: holder(1).public().to_string(),
        state,
        granted: PUBLISHED.into(),
        expires: None,
    }
}

/// Protects bytes, and gives what the script makes of them.
async fn protect(
    plugin: &Plugin,
    work: &Work,
    file: &FileInfo,
    terms: &Terms,
    clear: &[u8],
    at_most: u32,
) -> Result<Vec<u8>, EditError> {
    let of = ScriptOf::Protect(Box::new(work.clone()), file.clone(), terms.clone());
    let script = plugin.script(&Context::node(), of).await?;
    let mut script = script.map_err(|e| EditError::Plugin(shown(&e)))?;
    carry_out(&mut script, clear, at_most).await
}

async fn open(plugin: &Plugin, license: License, file: &FileInfo, bytes: &[u8]) -> Result<Vec<u8>, EditError> {
    let script = plugin.script(&Context::node(), ScriptOf::Open(license, file.clone())).await?;
    let mut script = script.map_err(|e| EditError::Plugin(shown(&e)))?;
    carry_out(&mut script, bytes, 512).await
}

/// The call that an edit error ended, if it was the plugin's failing.
fn done_of(call: String, outcome: Result<Vec<u8>, EditError>) -> Done {
    let answer = match outcome {
        Err(EditError::Call(error)) => Err(error),
        _ => Ok(()),
    };
    Done { call, answer }
}

/// Every call, with right input and with wrong.
pub(crate) async fn exercise(host: &Arc<Host>, plugin: &Plugin, depth: Depth) -> Vec<Done> {
    let node = Context::node();
    let (work, terms) = sealed_work(host);
    let plain = clear(1_000);
    let info = file(host, "book.epub", &plain, None);
    let mut done = vec![Done::of("describe()", plugin.describe_drm(&node).await)];
    let protected = protect(plugin, &work, &info, &terms, &plain, 512).await;
    let sealed = protected.as_ref().map_or_else(|_| plain.clone(), Clone::clone);
    done.push(done_of("protect(1,000 bytes)".into(), protected));
    let protected = file(host, "book.epub", &sealed, terms.scheme.as_deref());
    let right = || entitlement(&work, "ent_exercise", EntitlementState::Active);
    let issued = plugin.issue(&node, right(), protected.clone(), Some("device-1".into()), None).await;
    let license = issued.as_ref().ok().and_then(|l| l.as_ref().ok()).cloned();
    done.push(Done::of("issue(active)", issued));
    done.push(Done::of("status(active)", plugin.license_status(&node, right()).await));
    if let Some(license) = &license {
        done.push(done_of("open".into(), open(plugin, license.clone(), &protected, &sealed).await));
    }
    if depth == Depth::Brief {
        return done;
    }
    done.push(Done::of("personalise", plugin.personalise(&node, right(), protected.clone()).await));
    done.push(Done::of("register", plugin.register(&node, right(), "device-2".into(), "My reader".into()).await));
    done.push(Done::of("renew", plugin.renew(&node, right(), Some("2031-01-31T12:00:00Z".into())).await));
    done.push(Done::of("give-back", plugin.give_back(&node, right(), "device-2".into()).await));
    let absent = FileInfo { hash: "f".repeat(64), ..protected.clone() };
    done.push(Done::of(
        "issue(a file that is not there)",
        plugin.issue(&node, right(), absent.clone(), None, None).await,
    ));
    let empty = License { media_type: String::new(), body: vec![], headers: vec![], expires: None };
    let license = license.unwrap_or(empty);
    done.push(done_of("open(a file that is not there)".into(), open(plugin, license.clone(), &absent, &sealed).await));
    for (name, text) in texts() {
        let odd = Entitlement { id: text.clone(), offer: text.clone(), ..right() };
        done.push(Done::of(format!("status(id {name})"), plugin.license_status(&node, odd.clone()).await));
        done.push(Done::of(
            format!("issue(id {name})"),
            plugin.issue(&node, odd, protected.clone(), Some(text.clone()), None).await,
        ));
        let odd = Entitlement { holder: text.clone(), work: text.clone(), expires: Some(text.clone()), ..right() };
        done.push(Done::of(
            format!("issue(holder {name})"),
            plugin.issue(&node, odd.clone(), protected.clone(), None, None).await,
        ));
        done.push(Done::of(format!("revoke(reason {name})"), plugin.revoke(&node, odd, text.clone()).await));
        done.push(Done::of(
            format!("register({name})"),
            plugin.register(&node, right(), text.clone(), text.clone()).await,
        ));
        done.push(Done::of(format!("renew({name})"), plugin.renew(&node, right(), Some(text.clone())).await));
        done.push(Done::of(format!("give-back({name})"), plugin.give_back(&node, right(), text.clone()).await));
        let odd = FileInfo { path: text.clone(), hash: text.clone(), ..info.clone() };
        done.push(done_of(
            format!("protect(path and hash {name})"),
            protect(plugin, &work, &odd, &terms, &plain, 512).await,
        ));
    }
    for (name, bytes) in bytes() {
        let message = HttpMessage {
            method: "POST".into(),
            target: "/".into(),
            headers: vec![("x".into(), bytes.clone())],
            body: bytes.clone(),
        };
        done.push(Done::of(
            format!("issue(message {name})"),
            plugin.issue(&node, right(), protected.clone(), None, Some(message)).await,
        ));
        let odd = License { body: bytes.clone(), ..license.clone() };
        done.push(done_of(format!("open(licence {name})"), open(plugin, odd, &protected, &sealed).await));
        done.push(Done::of(format!("trace({name})"), plugin.trace(&node, bytes).await));
    }
    for size in [u64::MAX, u64::MAX / 2, 1 << 41] {
        let odd = FileInfo { size, ..info.clone() };
        // Its script is not carried out: there is no such file. It must not take the plugin's memory either.
        let of = ScriptOf::Protect(Box::new(work.clone()), odd, terms.clone());
        let started = plugin.script(&node, of).await;
        match started {
            Ok(Ok(mut script)) => {
                done.push(Done::of(format!("protect({size} bytes), first edits"), script.next(3).await));
            }
            other => done.push(Done::of(format!("protect({size} bytes)"), other)),
        }
    }
    done
}

/// The kind's own checks.
pub(crate) async fn check(bench: &Bench, plugin: &Plugin, report: &mut Report) -> Calls {
    let host = bench.host();
    let mut draft = report.begin("drm/describes", "it tells buyers what it does to them");
    let described = plugin.describe_drm(&Context::node()).await;
    match &described {
        Err(error) => draft.fail(advice(error)),
        Ok((_, words)) => draft.expect(words.iter().any(|w| !w.trim().is_empty()), || {
            "describe() has no words: a buyer reads them before payment".into()
        }),
    }
    report.end(draft);
    let Ok(plugin) = bench.load(&host).await else { return Calls::Drm };
    let secrecy = described.map_or(Secrecy::None, |(secrecy, _)| secrecy);
    if report.wants("drm/round-trip") {
        round_trip(&plugin, &host, secrecy, report).await;
    }
    holders(&plugin, &host, secrecy, report).await;
    ended(&plugin, &host, report).await;
    if report.wants("drm/tampered") {
        tampered(&plugin, &host, secrecy, report).await;
    }

    if !report.wants("drm/wrong-input") {
        return Calls::Drm;
    }
    let mut draft = report.begin("drm/wrong-input", "it answers whatever it is given");
    answered(&mut draft, &exercise(&host, &plugin, Depth::Whole).await);
    report.end(draft);
    Calls::Drm
}

fn failed(draft: &mut Draft, call: &str, error: &EditError) {
    draft.fail(match error {
        EditError::Call(error) => format!("{call}: {}", advice(error)),
        other => format!("{call}: {other}"),
    });
}

async fn license(draft: &mut Draft, plugin: &Plugin, right: Entitlement, file: &FileInfo) -> Option<License> {
    match plugin.issue(&Context::node(), right, file.clone(), None, None).await {
        Err(error) => draft.fail(format!("issue: {}", advice(&error))),
        Ok(Err(error)) => draft.fail(format!("issue answered {} for an active entitlement", shown(&error))),
        Ok(Ok(license)) => return Some(license),
    }
    None
}

async fn round_trip(plugin: &Plugin, host: &Arc<Host>, secrecy: Secrecy, report: &mut Report) {
    let mut draft = report.begin("drm/round-trip", "what was protected opens to the same bytes, whatever its length");
    let (work, terms) = sealed_work(host);
    for (i, size) in SIZES.into_iter().enumerate() {
        let (plain, name) = (clear(size), format!("{size} bytes"));
        let info = file(host, "book.epub", &plain, None);
        let at_most = PORTIONS.get(i % PORTIONS.len()).copied().unwrap_or(1);
        let sealed = match protect(plugin, &work, &info, &terms, &plain, at_most).await {
            Ok(sealed) => sealed,
            Err(error) => {
                failed(&mut draft, &format!("protect({name})"), &error);
                continue;
            }
        };
        // A short text may stand in what frames it; sixty-four bytes of it do not by chance.
        let locks = matches!(secrecy, Secrecy::KeyInClient | Secrecy::CertifiedClient);
        let leaks = plain.len() >= 64 && plain.get(..64).is_some_and(|head| sealed.windows(64).any(|w| w == head));
        draft.expect(!locks || !leaks, || {
            format!("protect({name}) leaves the file's own bytes readable, and describe() says that it locks them")
        });
        let protected = file(host, "book.epub", &sealed, terms.scheme.as_deref());
        let right = entitlement(&work, &format!("ent_{size}"), EntitlementState::Active);
        let Some(license) = license(&mut draft, plugin, right, &protected).await else { continue };
        host.act_for(1);
        match open(plugin, license, &protected, &sealed).await {
            Ok(opened) => draft.expect(opened == plain, || format!("a file of {name} does not open to what it was")),
            // Only certified hardware opens those, and the kit is none.
            Err(EditError::Plugin(_)) if secrecy == Secrecy::CertifiedClient => {}
            Err(error) => failed(&mut draft, &format!("open({name})"), &error),
        }
    }
    report.end(draft);
}

async fn holders(plugin: &Plugin, host: &Arc<Host>, secrecy: Secrecy, report: &mut Report) {
    const NAME: &str = "drm/holder";
    const ABOUT: &str = "a licence opens the file for its holder alone";
    if !matches!(secrecy, Secrecy::KeyInClient) {
        return report.skip(NAME, ABOUT, "it keeps no key for the holder");
    }
    let mut draft = report.begin(NAME, ABOUT);
    let (work, terms) = sealed_work(host);
    let plain = clear(5_000);
    let info = file(host, "book.epub", &plain, None);
    match protect(plugin, &work, &info, &terms, &plain, 512).await {
        Err(error) => failed(&mut draft, "protect", &error),
        Ok(sealed) => {
            let protected = file(host, "book.epub", &sealed, terms.scheme.as_deref());
            let right = entitlement(&work, "ent_holder", EntitlementState::Active);
            if let Some(license) = license(&mut draft, plugin, right, &protected).await {
                for (number, who) in [(2, "another holder"), (0, "a node that acts for nobody")] {
                    host.act_for(number);
                    match open(plugin, license.clone(), &protected, &sealed).await {
                        Ok(opened) if opened == plain => draft.fail(format!(
                            "{who} opens the file with the holder's licence: seal its key to the holder, with keys.seal"
                        )),
                        Err(EditError::Call(error)) => draft.fail(format!("open by {who}: {}", advice(&error))),
                        _ => {}
                    }
                }
            }
        }
    }
    host.act_for(1);
    report.end(draft);
}

async fn ended(plugin: &Plugin, host: &Arc<Host>, report: &mut Report) {
    let mut draft = report.begin("drm/ended", "a right that has ended gives no licence, and a revocation stays");
    let node = Context::node();
    let (work, terms) = sealed_work(host);
    let plain = clear(1_000);
    let info = file(host, "book.epub", &plain, None);
    let sealed = protect(plugin, &work, &info, &terms, &plain, 512).await.unwrap_or_else(|_| plain.clone());
    let protected = file(host, "book.epub", &sealed, terms.scheme.as_deref());
    let mut rights: Vec<(String, Entitlement)> =
        [EntitlementState::Expired, EntitlementState::Revoked, EntitlementState::Suspended, EntitlementState::Returned]
            .into_iter()
            .map(|state| (format!("{state:?}"), entitlement(&work, &format!("ent_{state:?}"), state)))
            .collect();
    let past = Entitlement {
        expires: Some("2020-01-31T12:00:00Z".into()),
        ..entitlement(&work, "ent_past", EntitlementState::Active)
    };
    rights.push(("active, and past its end,".into(), past));
    for (name, right) in rights {
        match plugin.issue(&node, right, protected.clone(), None, None).await {
            // The node's own clock has the last word there; a licence that says when it ended opens nothing.
            Ok(Ok(license)) if license.expires.as_deref().is_some_and(|e| e < "2021") => {}
            Ok(Ok(_)) => {
                draft.fail(format!("issue gives a licence for an entitlement that is {name}: answer `denied`"));
            }
            Ok(Err(Error::Internal(why))) => draft
                .fail(format!("issue for an entitlement that is {name} answered internal ({why}): answer `denied`")),
            Ok(Err(_)) => {}
            Err(error) => draft.fail(format!("issue for an entitlement that is {name}: {}", advice(&error))),
        }
    }
    let right = || entitlement(&work, "ent_to_revoke", EntitlementState::Active);
    license(&mut draft, plugin, right(), &protected).await;
    for round in ["revoke", "revoke again"] {
        match plugin.revoke(&node, right(), "refunded".into()).await {
            Err(error) => draft.fail(format!("{round}: {}", advice(&error))),
            // That it was revoked already may be said, too; what counts is that it stays so.
            Ok(Err(Error::Invalid(_))) if round == "revoke again" => {}
            Ok(Err(error)) => draft.fail(format!("{round} answered {}", shown(&error))),
            Ok(Ok(status)) => draft
                .expect(matches!(status.state, LicenseState::Revoked | LicenseState::Cancelled), || {
                    format!("after {round} the licence is {:?}", status.state)
                }),
        }
    }
    match plugin.license_status(&node, right()).await {
        Ok(Ok(status)) => draft.expect(matches!(status.state, LicenseState::Revoked | LicenseState::Cancelled), || {
            format!(
                "status says {:?} of a licence that was revoked: keep it in storage, memory is never state",
                status.state
            )
        }),
        Ok(Err(error)) => draft.fail(format!("status of a revoked licence answered {}", shown(&error))),
        Err(error) => draft.fail(format!("status: {}", advice(&error))),
    }
    if let Ok(Ok(_)) = plugin.issue(&node, right(), protected, None, None).await {
        draft.fail("issue gives a licence that was revoked: look before you issue");
    }
    report.end(draft);
}

/// A licence with a byte changed or missing must not open the file, and must not end the plugin.
async fn tampered(plugin: &Plugin, host: &Arc<Host>, secrecy: Secrecy, report: &mut Report) {
    let mut draft = report.begin("drm/tampered", "a licence or file that was altered does not pass for whole");
    let (work, terms) = sealed_work(host);
    let plain = clear(70_000);
    let info = file(host, "book.epub", &plain, None);
    let Ok(sealed) = protect(plugin, &work, &info, &terms, &plain, 512).await else {
        return report.skip("drm/tampered", "altered licences", "it protects nothing, as drm/round-trip says");
    };
    let protected = file(host, "book.epub", &sealed, terms.scheme.as_deref());
    let right = entitlement(&work, "ent_tampered", EntitlementState::Active);
    if let Some(license) = license(&mut draft, plugin, right, &protected).await {
        let len = license.body.len();
        for at in [0, len / 3, len / 2, len.saturating_sub(1)] {
            let mut body = license.body.clone();
            if let Some(byte) = body.get_mut(at) {
                *byte ^= 0x10;
            }
            for (how, body) in [("changed", body), ("cut off", license.body.get(..at).unwrap_or_default().to_vec())] {
                if let Err(EditError::Call(error)) =
                    open(plugin, License { body, ..license.clone() }, &protected, &sealed).await
                {
                    draft.fail(format!("open with a licence that was {how} at byte {at}: {}", advice(&error)));
                }
            }
        }
        if matches!(secrecy, Secrecy::KeyInClient) {
            let mut bytes = sealed.clone();
            if let Some(byte) = bytes.get_mut(sealed.len() / 2) {
                *byte ^= 1;
            }
            match open(plugin, license, &protected, &bytes).await {
                Ok(_) => draft.fail(
                    "a file with one byte changed opens as if it were whole: use an authenticated cipher for each span",
                ),
                Err(EditError::Call(error)) => draft.fail(format!("open of an altered file: {}", advice(&error))),
                Err(_) => {}
            }
        }
    }
    report.end(draft);
}
