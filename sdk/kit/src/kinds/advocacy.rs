//! Advocacy modules: people are counted once, nothing is sent in anybody's name, and no name or address is left where the
//! public can read it.

use fondaco_runtime::wit::advocacy_types::{Action, Campaign, Outcome, Participation};
use fondaco_runtime::wit::types::Error;
use fondaco_runtime::{Context, Plugin};

use super::{Depth, bytes, texts};
use crate::bench::Bench;
use crate::common::{Calls, Done, advice, answered, shown};
use crate::host::{Host, SESSION};
use crate::report::{Draft, Report};

/// What must not turn up in a public log.
const NAME: &str = "Zephyrine Quillfeather";
const MAIL: &str = "zephyrine@quillfeather.example";

fn participation(campaign: &str, action: &str) -> Participation {
    Participation {
        campaign: campaign.into(),
        action: action.into(),
        session: SESSION.into(),
        fields: vec![],
        targets: vec![],
        consents: vec![],
        placement: None,
        token: None,
    }
}

/// Fills in what an action asks for.
fn filled(campaign: &str, action: &Action) -> Participation {
    let mut p = participation(campaign, &action.id);
    for input in &action.fields {
        let value = match input.kind.as_str() {
            "email" | "mail" => MAIL,
            "postcode" => "75001",
            "country" => "FR",
            "number" => "1",
            "url" => "https://quillfeather.example",
            "consent" | "checkbox" => {
                p.consents.push(input.name.clone());
                continue;
            }
            _ => NAME,
        };
        p.fields.push((input.name.clone(), value.into()));
    }
    p
}

/// The first campaign, with its actions.
async fn first(plugin: &Plugin) -> Option<Campaign> {
    let node = Context::node();
    let running = plugin.running(&node, "en".into()).await.ok()?.ok()?;
    plugin.campaign(&node, running.first()?.id.clone(), "en".into(), None).await.ok()?.ok()
}

/// Every call, with right input and with wrong.
pub(crate) async fn exercise(plugin: &Plugin, depth: Depth) -> Vec<Done> {
    let node = Context::node();
    let mut done = vec![Done::of("running(\"en\")", plugin.running(&node, "en".into()).await)];
    let campaign = first(plugin).await;
    let id = campaign.as_ref().map_or_else(|| "no-such".to_owned(), |c| c.summary.id.clone());
    done.push(Done::of("get", plugin.campaign(&node, id.clone(), "en".into(), None).await));
    done.push(Done::of("counts", plugin.counts(&node, id.clone()).await));
    done.push(Done::of("targets(FR, 75001)", plugin.targets(&node, id.clone(), "FR".into(), "75001".into()).await));
    for action in campaign.iter().flat_map(|c| &c.actions) {
        done.push(Done::of(format!("take-part({:?})", action.id), plugin.take_part(&node, filled(&id, action)).await));
    }
    if depth == Depth::Brief {
        return done;
    }
    let action = campaign.as_ref().and_then(|c| c.actions.first()).map_or_else(|| "sign".to_owned(), |a| a.id.clone());
    for (name, text) in texts() {
        let t = || text.clone();
        done.push(Done::of(format!("running({name})"), plugin.running(&node, t()).await));
        done.push(Done::of(format!("get({name})"), plugin.campaign(&node, t(), t(), Some(t())).await));
        done.push(Done::of(
            format!("get(locale and audience {name})"),
            plugin.campaign(&node, id.clone(), t(), Some(t())).await,
        ));
        done.push(Done::of(format!("targets({name})"), plugin.targets(&node, id.clone(), t(), t()).await));
        done.push(Done::of(format!("confirm({name})"), plugin.confirm(&node, t()).await));
        done.push(Done::of(format!("withdraw({name})"), plugin.withdraw(&node, t()).await));
        done.push(Done::of(format!("counts({name})"), plugin.counts(&node, t()).await));
        done.push(Done::of(format!("leaves({name})"), plugin.leaves(&node, t(), 0).await));
        done.push(Done::of(
            format!("press(format {name})"),
            plugin.press(&node, id.clone(), t(), "en".into(), t(), t()).await,
        ));
        done.push(Done::of(format!("export-person({name})"), plugin.export_person(&node, t()).await));
        done.push(Done::of(format!("erase-person({name})"), plugin.erase_person(&node, t()).await));
        let odd = Participation {
            session: t(),
            fields: vec![(t(), t()), ("name".into(), t()), ("mail".into(), t()), ("name".into(), "again".into())],
            targets: vec![t(), t()],
            consents: vec![t()],
            placement: Some(t()),
            ..participation(&id, &action)
        };
        done.push(Done::of(format!("take-part(session and fields {name})"), plugin.take_part(&node, odd).await));
        done.push(Done::of(
            format!("take-part(action {name})"),
            plugin.take_part(&node, participation(&id, &text)).await,
        ));
    }
    for (name, bytes) in bytes() {
        let odd = Participation { token: Some(bytes), ..participation(&id, &action) };
        done.push(Done::of(format!("take-part(token {name})"), plugin.take_part(&node, odd).await));
    }
    let many = Participation {
        fields: (0..5_000).map(|i| (format!("f{i}"), "x".into())).collect(),
        targets: (0..5_000).map(|i| format!("t{i}")).collect(),
        ..participation(&id, &action)
    };
    done.push(Done::of("take-part(5,000 fields and targets)", plugin.take_part(&node, many).await));
    done.push(Done::of("leaves(since the end of time)", plugin.leaves(&node, id, u64::MAX).await));
    done
}

/// The kind's own checks.
pub(crate) async fn check(bench: &Bench, _: &Plugin, report: &mut Report) -> Calls {
    let host = bench.host();
    let Ok(plugin) = bench.load(&host).await else { return Calls::Advocacy };
    let campaigns = describes(&plugin, report).await;
    refuses(&plugin, &campaigns, report).await;
    takes_part(&plugin, &host, &campaigns, report).await;

    if !report.wants("advocacy/wrong-input") {
        return Calls::Advocacy;
    }
    let mut draft = report.begin("advocacy/wrong-input", "it answers whatever it is given");
    answered(&mut draft, &exercise(&plugin, Depth::Whole).await);
    report.end(draft);
    Calls::Advocacy
}

async fn describes(plugin: &Plugin, report: &mut Report) -> Vec<Campaign> {
    let mut draft =
        report.begin("advocacy/campaigns", "each campaign is whole, for each audience, with its legal notice");
    let node = Context::node();
    let mut campaigns = Vec::new();
    for locale in ["en", "fr", "xx-unknown"] {
        let running = match plugin.running(&node, locale.into()).await {
            Ok(Ok(running)) => running,
            Ok(Err(error)) => {
                draft.fail(format!(
                    "running({locale:?}) answered {}: fall back to a language that you have",
                    shown(&error)
                ));
                continue;
            }
            Err(error) => {
                draft.fail(format!("running({locale:?}): {}", advice(&error)));
                continue;
            }
        };
        for summary in running {
            draft.expect(!summary.title.trim().is_empty(), || format!("the campaign {:?} has no title", summary.id));
            let campaign = match plugin.campaign(&node, summary.id.clone(), locale.into(), None).await {
                Ok(Ok(campaign)) => campaign,
                Ok(Err(error)) => {
                    draft.fail(format!(
                        "get({:?}, {locale:?}) answered {}, and running() lists it",
                        summary.id,
                        shown(&error)
                    ));
                    continue;
                }
                Err(error) => {
                    draft.fail(format!("get({:?}): {}", summary.id, advice(&error)));
                    continue;
                }
            };
            whole(&mut draft, &campaign);
            for audience in &campaign.audiences {
                match plugin.campaign(&node, summary.id.clone(), locale.into(), Some(audience.clone())).await {
                    Ok(Ok(for_them)) => draft.expect(for_them.audience == *audience, || {
                        format!(
                            "get({:?}) for the audience {audience:?} gives the words for {:?}",
                            summary.id, for_them.audience
                        )
                    }),
                    Ok(Err(error)) => draft.fail(format!(
                        "get({:?}) for its audience {audience:?} answered {}",
                        summary.id,
                        shown(&error)
                    )),
                    Err(error) => draft.fail(format!("get({:?}) for {audience:?}: {}", summary.id, advice(&error))),
                }
            }
            if locale == "en" {
                campaigns.push(campaign);
            }
        }
    }
    report.end(draft);
    campaigns
}

fn whole(draft: &mut Draft, campaign: &Campaign) {
    let id = &campaign.summary.id;
    draft.expect(!campaign.notice.sponsor.trim().is_empty(), || {
        format!("{id}: the notice names no sponsor: say who is behind it")
    });
    draft.expect(campaign.notice.retention_days > 0, || {
        format!("{id}: the notice does not say for how many days data is kept")
    });
    draft.expect(campaign.audiences.contains(&campaign.audience), || {
        format!("{id}: its audience {:?} is not among its audiences", campaign.audience)
    });
    draft.expect(!campaign.body_markdown.to_lowercase().contains("<script"), || {
        format!("{id}: its text holds a script; it is Markdown without HTML")
    });
    let mut seen = Vec::new();
    for action in &campaign.actions {
        draft.expect(!seen.contains(&&action.id), || format!("{id}: two actions are called {:?}", action.id));
        seen.push(&action.id);
        draft.expect(!action.label.trim().is_empty(), || format!("{id}: the action {:?} has no label", action.id));
        for input in &action.fields {
            draft.expect(!input.label.trim().is_empty() && !input.purpose.trim().is_empty(), || {
                format!(
                    "{id}: the field {:?} of {:?} needs a label, and a purpose that says what it is asked for",
                    input.name, action.id
                )
            });
        }
    }
}

async fn refuses(plugin: &Plugin, campaigns: &[Campaign], report: &mut Report) {
    let mut draft = report.begin("advocacy/unknown", "a campaign, action or token that is not there counts nothing");
    let node = Context::node();
    let known = campaigns.first().map_or("no-such", |c| c.summary.id.as_str());
    let mut refused = |call: &str, answer: Result<Result<String, Error>, fondaco_runtime::CallError>| match answer {
        Ok(Ok(gave)) => draft.fail(format!("{call} gives {gave}: answer `not-found` or `invalid`")),
        Ok(Err(Error::Internal(why))) => {
            draft.fail(format!("{call} answered internal ({why}): answer `not-found` or `invalid`"));
        }
        Ok(Err(_)) => {}
        Err(error) => draft.fail(format!("{call}: {}", advice(&error))),
    };
    let some = |what: &str| what.to_owned();
    let answer = plugin.campaign(&node, "kit-no-such".into(), "en".into(), None).await;
    refused("get of an unknown campaign", answer.map(|a| a.map(|_| some("a campaign"))));
    let answer = plugin.take_part(&node, participation("kit-no-such", "sign")).await;
    refused("take-part in an unknown campaign", answer.map(|a| a.map(|o| format!("{o:?}"))));
    let answer = plugin.take_part(&node, participation(known, "kit-no-such")).await;
    refused("take-part with an unknown action", answer.map(|a| a.map(|o| format!("{o:?}"))));
    let answer = plugin.confirm(&node, "kit-made-this-up".into()).await;
    refused("confirm with a token that was made up", answer.map(|a| a.map(|o| format!("{o:?}"))));
    let answer = plugin.withdraw(&node, "kit-made-this-up".into()).await;
    refused("withdraw with a token that was made up", answer.map(|a| a.map(|()| some("its consent"))));
    let answer =
        plugin.press(&node, known.into(), "kit-no-such-format".into(), "en".into(), "public".into(), "x".into()).await;
    refused("press in an unknown format", answer.map(|a| a.map(|_| some("a document"))));
    for action in campaigns.iter().flat_map(|c| c.actions.iter().map(|a| (c.summary.id.as_str(), a))) {
        let (id, action) = action;
        if action.fields.iter().any(|f| f.required) {
            let answer = plugin.take_part(&node, participation(id, &action.id)).await;
            refused(
                &format!("take-part in {:?} without what it requires", action.id),
                answer.map(|a| a.map(|o| format!("{o:?}"))),
            );
        }
    }
    report.end(draft);
}

async fn takes_part(plugin: &Plugin, host: &Host, campaigns: &[Campaign], report: &mut Report) {
    let mut draft = report.begin("advocacy/once", "a visitor counts once, and nothing of them is public");
    let node = Context::node();
    for campaign in campaigns {
        let id = &campaign.summary.id;
        for action in &campaign.actions {
            let call = format!("take-part in {:?} of {id}", action.id);
            let p = filled(id, action);
            let one = plugin.take_part(&node, p.clone()).await;
            let before = count(plugin, id).await;
            host.take_mails();
            let two = plugin.take_part(&node, p).await;
            let after = count(plugin, id).await;
            for answer in [&one, &two] {
                match answer {
                    Err(error) => draft.fail(format!("{call}: {}", advice(error))),
                    Ok(Err(Error::Internal(why))) => draft.fail(format!("{call} answered internal ({why})")),
                    Ok(Ok(Outcome::HandOff(ways))) => {
                        draft.expect(!ways.is_empty(), || format!("{call} hands off nothing for the person to send"));
                    }
                    Ok(_) => {}
                }
            }
            if matches!((&one, &two), (Ok(Ok(Outcome::Counted)), Ok(Ok(Outcome::Counted)))) {
                draft.fail(format!("{call} counts the same visitor twice: answer `already-counted`"));
            }
            draft.expect(before == after || matches!(two, Ok(Ok(Outcome::HandOff(_)))), || {
                format!("{call}: the counts went from {before} to {after} when the same visitor came again")
            });
            if matches!(one, Ok(Ok(Outcome::HandOff(_)))) {
                for mail in host.take_mails() {
                    draft.expect(mail == MAIL, || {
                        format!("{call} mails {mail:?}: a handed-off letter is the person's own to send")
                    });
                }
            }
        }
        public(&mut draft, plugin, id).await;
    }
    match plugin.erase_person(&node, MAIL.into()).await {
        Err(error) => draft.fail(format!("erase-person: {}", advice(&error))),
        Ok(Err(Error::Internal(why))) => draft.fail(format!("erase-person answered internal ({why})")),
        Ok(_) => {
            if let Ok(Ok(again)) = plugin.erase_person(&node, MAIL.into()).await {
                draft.expect(again == 0, || format!("erase-person, asked again, still erases {again} entries"));
            }
        }
    }
    report.end(draft);
}

/// All counts of a campaign, added up for comparison only: classes of evidence are never added for people.
async fn count(plugin: &Plugin, id: &str) -> u64 {
    let counts = plugin.counts(&Context::node(), id.into()).await;
    counts.ok().and_then(Result::ok).map_or(0, |counts| counts.iter().map(|c| c.n).sum())
}

async fn public(draft: &mut Draft, plugin: &Plugin, id: &str) {
    let Ok(Ok(leaves)) = plugin.leaves(&Context::node(), id.into(), 0).await else { return };
    for leaf in leaves {
        let text = String::from_utf8_lossy(&leaf);
        draft.expect(![NAME, MAIL, SESSION].iter().any(|word| text.contains(word)), || {
            format!("the public log of {id} holds what a person filled in: keep keyed hashes, or nothing")
        });
    }
}
