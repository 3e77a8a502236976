//! Between the node's own types and those of the plugin interface.

use fondaco_ledger as ledger;
use fondaco_runtime::wit::{commerce, payment_types as pay, types};
use fondaco_schemas as domain;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// RFC 3339, UTC.
pub(crate) fn timestamp(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}

pub(crate) fn money(m: &domain::Money) -> types::Money {
    types::Money { amount: m.minor.to_string(), asset: m.asset.to_string(), exponent: m.exponent }
}

/// A plugin's sum; nothing where it is none.
pub fn read_money(m: &types::Money) -> Option<domain::Money> {
    let digits = !m.amount.is_empty() && m.amount.bytes().all(|b| b.is_ascii_digit());
    let minor = m.amount.parse().ok().filter(|_| digits)?;
    Some(domain::Money { minor, asset: m.asset.parse().ok()?, exponent: m.exponent })
}

/// A kind of work, as the plugin interface has it.
pub fn kind(k: domain::WorkKind) -> types::WorkKind {
    use domain::WorkKind as D;
    match k {
        D::Album => types::WorkKind::Album,
        D::Track => types::WorkKind::Track,
        D::Video => types::WorkKind::Video,
        D::Game => types::WorkKind::Game,
        D::Book => types::WorkKind::Book,
        D::NewspaperIssue => types::WorkKind::NewspaperIssue,
        D::PodcastEpisode => types::WorkKind::PodcastEpisode,
        D::Software => types::WorkKind::Software,
        D::Other => types::WorkKind::Other,
    }
}

/// A kind of work, as a plugin names it.
pub fn read_kind(k: types::WorkKind) -> domain::WorkKind {
    use domain::WorkKind as D;
    match k {
        types::WorkKind::Album => D::Album,
        types::WorkKind::Track => D::Track,
        types::WorkKind::Video => D::Video,
        types::WorkKind::Game => D::Game,
        types::WorkKind::Book => D::Book,
        types::WorkKind::NewspaperIssue => D::NewspaperIssue,
        types::WorkKind::PodcastEpisode => D::PodcastEpisode,
        types::WorkKind::Software => D::Software,
        types::WorkKind::Other => D::Other,
    }
}

pub(crate) fn file(f: &domain::FileInfo) -> types::FileInfo {
    use domain::FileRole as D;
    let role = match f.role {
        D::Content => types::FileRole::Content,
        D::Preview => types::FileRole::Preview,
        D::Cover => types::FileRole::Cover,
        D::Booklet => types::FileRole::Booklet,
        D::Subtitle => types::FileRole::Subtitle,
        D::Source => types::FileRole::Source,
    };
    types::FileInfo {
        path: f.path.clone(),
        hash: f.hash.to_string(),
        size: f.size,
        media_type: f.media_type.clone(),
        role,
        protection: f.protection.clone(),
        title: f.title.clone(),
        duration_ms: f.duration_ms,
    }
}

pub(crate) fn terms(t: &domain::Terms) -> types::Terms {
    types::Terms {
        scheme: t.scheme.clone(),
        lasts: t.lasts,
        devices: t.devices,
        territories: t.territories.clone(),
        available_from: t.available_from.clone(),
        available_until: t.available_until.clone(),
    }
}

fn offer(o: &domain::Offer) -> types::Offer {
    let split = |s: &domain::Split| types::Split { payee: s.payee.clone(), shares: s.shares, fee: s.fee };
    types::Offer {
        id: o.id.clone(),
        price: money(&o.price),
        suggested: o.suggested.as_ref().map(money),
        splits: o.splits.iter().map(split).collect(),
        terms: terms(&o.terms),
    }
}

pub(crate) fn work(w: &domain::Work) -> types::Work {
    release(&w.release, w.release_id.to_string())
}

pub(crate) fn release(r: &domain::Release, id: String) -> types::Work {
    types::Work {
        id: r.work.to_string(),
        release: id,
        kind: kind(r.kind),
        title: r.title.clone(),
        creators: r.creators.clone(),
        description: r.description.clone(),
        language: r.language.clone(),
        tags: r.tags.clone(),
        license: r.license.clone(),
        credits: r.credits.iter().map(|c| (c.role.clone(), c.name.clone())).collect(),
        published: r.published.clone(),
        files: r.files.iter().map(file).collect(),
        offers: r.offers.iter().map(offer).collect(),
        metadata: r.metadata.clone(),
    }
}

pub(crate) fn entitlement(e: &ledger::Entitlement) -> types::Entitlement {
    use ledger::EntitlementState as S;
    types::Entitlement {
        id: e.body.id.to_string(),
        work: e.body.work.to_string(),
        release: e.body.release.to_string(),
        offer: e.body.offer.clone(),
        holder: e.body.holder.to_string(),
        state: match e.state {
            S::Active => types::EntitlementState::Active,
            S::Suspended => types::EntitlementState::Suspended,
            S::Expired => types::EntitlementState::Expired,
            S::Revoked => types::EntitlementState::Revoked,
            S::Returned => types::EntitlementState::Returned,
        },
        granted: timestamp(e.body.granted),
        expires: e.body.expires.map(timestamp),
    }
}

pub(crate) fn order(o: &ledger::Order) -> commerce::Order {
    use ledger::OrderState as S;
    commerce::Order {
        id: o.id.to_string(),
        work: o.work.to_string(),
        offer: o.offer.id.clone(),
        total: money(&o.total),
        state: match o.state {
            S::Open => commerce::OrderState::Open,
            S::Pending => commerce::OrderState::Pending,
            S::Paid => commerce::OrderState::Paid,
            S::Fulfilled => commerce::OrderState::Fulfilled,
            S::Refunded => commerce::OrderState::Refunded,
            S::Cancelled => commerce::OrderState::Cancelled,
            S::Expired => commerce::OrderState::Expired,
        },
        gateway: o.gateway.clone(),
        created: timestamp(o.created),
        updated: timestamp(o.updated),
    }
}

/// A plugin's event as the ledger takes it; an error says which part is no event.
pub(crate) fn event(e: &pay::PaymentEvent, now: OffsetDateTime) -> Result<ledger::PaymentEvent, String> {
    use ledger::EventKind as D;
    use pay::EventKind as P;
    let kind = match e.kind {
        P::Authorized => D::Authorized,
        P::AuthorizationFailed => D::AuthorizationFailed,
        P::Charged => D::Charged,
        P::ChargeFailed => D::ChargeFailed,
        P::ActionRequired => D::ActionRequired,
        P::Cancelled => D::Cancelled,
        P::Refunded => D::Refunded,
        P::RefundFailed => D::RefundFailed,
        P::ChargedBack => D::ChargedBack,
        P::ChargeBackReversed => D::ChargeBackReversed,
        P::Expired => D::Expired,
        P::Note => D::Note,
    };
    let amount =
        read_money(&e.amount).ok_or_else(|| format!("event {}: amount {:?} is no sum", e.reference, e.amount))?;
    let fee = match &e.fee {
        None => None,
        Some(fee) => Some(read_money(fee).ok_or_else(|| format!("event {}: its fee is no sum", e.reference))?),
    };
    Ok(ledger::PaymentEvent {
        payment: e.payment.parse().map_err(|err| format!("event {}: {err}", e.reference))?,
        reference: e.reference.clone(),
        kind,
        amount,
        fee,
        at: OffsetDateTime::parse(&e.at, &Rfc3339).unwrap_or(now),
    })
}
