//! How fast the ledger is on this machine: `cargo bench -p fondaco-ledger`.
//!
//! The disk's flushes decide over purchases: each is three durable writes one after the other (order, payment, charge
//! with its right), and group commit lets 64 buyers share each flush.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fondaco_ledger::{EventKind, KvEntry, KvQuota, KvWrite, Ledger, NewOrder, Options, PaymentEvent};
use fondaco_schemas::{
    EntitlementId, HolderKey, Money, Offer, OrderId, PaymentId, PublicKey, ReleaseId, Terms, WorkId,
};
use time::OffsetDateTime;
use tokio::task::JoinSet;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const CLIENTS: u64 = 64;
const PURCHASES: u64 = 3200;
const ENTRIES: u32 = 10_000;
const READS: u32 = 100_000;

fn bits(kind: u64, n: u64) -> [u8; 16] {
    (u128::from(kind) << 64 | u128::from(n)).to_be_bytes()
}

async fn buy(ledger: &Ledger, n: u64) -> Result<(), Failure> {
    let (order, payment) = (OrderId::from_random(bits(1, n)), PaymentId::from_random(bits(2, n)));
    let (price, at): (Money, _) = ("4.99 EUR".parse()?, OffsetDateTime::UNIX_EPOCH);
    let offer =
        Offer { id: "buy".into(), price: price.clone(), suggested: None, splits: vec![], terms: Terms::default() };
    let new = NewOrder {
        id: order.clone(),
        session: format!("session-{n}"),
        holder: HolderKey::new([7; 32]),
        work: WorkId::new(PublicKey::new([1; 32]), "night")?,
        release: ReleaseId::new([2; 32]),
        offer,
        total: price.clone(),
        idempotency_key: n.to_string(),
        entitlement: EntitlementId::from_random(bits(3, n)),
        country: None,
        expires: None,
    };
    ledger.create_order(new, at).await?;
    ledger.open_payment(&order, &payment, "pay-voucher", at).await?;
    let paid =
        PaymentEvent { payment, reference: n.to_string(), kind: EventKind::Charged, amount: price, fee: None, at };
    let outcome = ledger.record_payment_events("pay-voucher", vec![paid], at).await?;
    if outcome.granted.len() == 1 { Ok(()) } else { Err("no right was granted".into()) }
}

async fn purchases(ledger: &Ledger, clients: u64, count: u64, first: u64) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let mut buyers = JoinSet::new();
    for client in 0..clients {
        let ledger = ledger.clone();
        buyers.spawn(async move {
            for n in (client..count).step_by(usize::try_from(clients)?) {
                buy(&ledger, first + n).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(done) = buyers.join_next().await {
        done??;
    }
    Ok(begun.elapsed())
}

fn line(what: &str, value: f64, unit: &str) {
    println!("{what:<52} {value:>10.1} {unit}");
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let ledger = Ledger::open(dir.path().join("ledger.db"), Options::new(Arc::new(|_| vec![0; 64])))?;
    let alone = purchases(&ledger, 1, 100, 1 << 32).await?;
    line("purchases, 1 client", 100.0 / alone.as_secs_f64(), "/s");
    let before = ledger.stats();
    let together = purchases(&ledger, CLIENTS, PURCHASES, 0).await?;
    let after = ledger.stats();
    let (writes, commits) = (after.writes - before.writes, after.commits - before.commits);
    line("purchases, 64 clients", f64::from(u32::try_from(PURCHASES)?) / together.as_secs_f64(), "/s");
    line("  writes a commit", f64::from(u32::try_from(writes)?) / f64::from(u32::try_from(commits)?), "");
    let commit_time = after.commit_time.saturating_sub(before.commit_time);
    line("  a commit", commit_time.as_secs_f64() * 1e3 / f64::from(u32::try_from(commits)?), "ms");
    let begun = Instant::now();
    let head = ledger.verify_chain().await?;
    line("events verified", f64::from(u32::try_from(head.seq)?) / begun.elapsed().as_secs_f64(), "/s");
    let begun = Instant::now();
    ledger.rebuild().await?;
    line("events applied in a rebuild", f64::from(u32::try_from(head.seq)?) / begun.elapsed().as_secs_f64(), "/s");

    let put = |n: u32| KvWrite::Put(KvEntry { key: n.to_be_bytes().into(), value: vec![1; 100] });
    for portion in 0..10 {
        let batch = (0..ENTRIES / 10).map(|n| put(portion * (ENTRIES / 10) + n)).collect();
        ledger.kv_apply("search-index", KvQuota::NONE, batch).await?;
    }
    let reader = ledger.kv_reader();
    let begun = Instant::now();
    for n in 0..READS {
        let key = (n.wrapping_mul(7919) % ENTRIES).to_be_bytes();
        reader.get("search-index", &key)?.ok_or("an entry is missing")?;
    }
    line(
        "kv get of 100 bytes among 10000 entries, blocking",
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(READS),
        "µs",
    );
    let begun = Instant::now();
    for n in 0..READS / 10 {
        ledger.kv_get("search-index", &(n % ENTRIES).to_be_bytes()).await?;
    }
    line("kv get, through a blocking thread", begun.elapsed().as_secs_f64() * 1e7 / f64::from(READS), "µs");
    let begun = Instant::now();
    for n in 0..100_u32 {
        // Another value than before: SQLite writes nothing where nothing changes.
        let entry = KvEntry { key: n.to_be_bytes().into(), value: vec![2; 100] };
        ledger.kv_apply("search-index", KvQuota::NONE, vec![KvWrite::Put(entry)]).await?;
    }
    line("kv apply of one entry, durable", begun.elapsed().as_secs_f64() * 1e3 / 100.0, "ms");
    Ok(())
}
