//! The ledger as its callers see it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod catalogue;
mod chain;
mod channel;
mod crash;
mod file;
mod kv;
mod receipts;
mod records;
mod sales;

use std::path::Path;
use std::sync::Arc;

use fondaco_ledger::{EventKind, Ledger, NewOrder, Options, PaymentEvent};
use fondaco_schemas::{
    BlobHash, EntitlementId, FileInfo, FileRole, HolderKey, Money, Offer, OrderId, PaymentId, PublicKey, Release,
    ReleaseId, Terms, WorkId, WorkKind,
};
use tempfile::TempDir;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const START: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const GATEWAY: &str = "pay-voucher";

/// A signature that says what was signed.
fn options() -> Options {
    Options::new(Arc::new(|body| format!("signed {}", body.id).into_bytes()))
}

fn open(path: &Path) -> Ledger {
    Ledger::open(path, options()).unwrap()
}

fn fresh() -> (TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(&dir.path().join("ledger.db"));
    (dir, ledger)
}

fn money(text: &str) -> Money {
    text.parse().unwrap()
}

/// 128 bits that are different for each kind and number.
fn bits(kind: u64, n: u64) -> [u8; 16] {
    let mut bits = [0; 16];
    bits[..8].copy_from_slice(&kind.to_be_bytes());
    bits[8..].copy_from_slice(&n.to_be_bytes());
    bits
}
fn order_id(n: u64) -> OrderId {
    OrderId::from_random(bits(1, n))
}
fn payment_id(n: u64) -> PaymentId {
    PaymentId::from_random(bits(2, n))
}
fn holder(n: u64) -> HolderKey {
    let mut key = [0; 32];
    key[..16].copy_from_slice(&bits(3, n));
    HolderKey::new(key)
}
fn work_id(slug: &str) -> WorkId {
    WorkId::new(PublicKey::new([1; 32]), slug).unwrap()
}
fn offer(price: &str) -> Offer {
    Offer { id: "buy".into(), price: money(price), suggested: None, splits: vec![], terms: Terms::default() }
}

/// An order of a session and a holder of its own.
fn new_order(n: u64, total: &str) -> NewOrder {
    NewOrder {
        id: order_id(n),
        session: format!("session-{n}"),
        holder: holder(n),
        work: work_id("night"),
        release: ReleaseId::new([9; 32]),
        offer: offer(total),
        total: money(total),
        idempotency_key: "first".into(),
        entitlement: EntitlementId::from_random(bits(4, n)),
        country: None,
        expires: Some(START + Duration::hours(1)),
    }
}

fn event(payment: &PaymentId, reference: impl Into<String>, kind: EventKind, amount: &str) -> PaymentEvent {
    PaymentEvent {
        payment: payment.clone(),
        reference: reference.into(),
        kind,
        amount: money(amount),
        fee: None,
        at: START,
    }
}

/// An order with an open payment of the same number.
async fn payable(ledger: &Ledger, n: u64, total: &str) -> (OrderId, PaymentId) {
    ledger.create_order(new_order(n, total), START).await.unwrap();
    ledger.open_payment(&order_id(n), &payment_id(n), GATEWAY, START).await.unwrap();
    (order_id(n), payment_id(n))
}

/// A release with one protected file, a cover and a tag.
fn release(slug: &str, sequence: u64, price: &str) -> (Release, ReleaseId, Vec<u8>) {
    let file = |path: &str, role, seed: &str| FileInfo {
        path: path.into(),
        hash: BlobHash::new(*blake3::hash(seed.as_bytes()).as_bytes()),
        size: 7,
        media_type: "audio/mpeg".into(),
        role,
        protection: (role == FileRole::Content).then(|| "drm-sealed".to_owned()),
        title: None,
        duration_ms: None,
    };
    let release = Release {
        work: work_id(slug),
        sequence,
        kind: WorkKind::Album,
        title: slug.to_uppercase(),
        creators: vec!["Ada".into()],
        description: String::new(),
        language: None,
        tags: vec!["jazz".into()],
        license: None,
        credits: vec![],
        published: "2026-03-01T00:00:00Z".into(),
        files: vec![
            file("a.mp3", FileRole::Content, &format!("{slug}-{sequence}")),
            file("cover.jpg", FileRole::Cover, "cover"),
        ],
        offers: vec![offer(price)],
        metadata: "{}".into(),
        home: None,
    };
    let envelope = format!("envelope of {slug} {sequence} {price}").into_bytes();
    (release, ReleaseId::new(*blake3::hash(&envelope).as_bytes()), envelope)
}

async fn publish(ledger: &Ledger, slug: &str, sequence: u64, price: &str) -> ReleaseId {
    let (release, id, envelope) = release(slug, sequence, price);
    ledger.record_release(&release, id, envelope, START).await.unwrap();
    id
}
