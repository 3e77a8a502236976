//! What was done with plugins: installs, grants, refusals. The highest version ever installed is kept, so that nobody
//! slips an old one in.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use semver::Version;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::codec::{count, maybe, micros, time};
use crate::error::at_most;
use crate::{Error, Ledger, Result};

/// Something that was done with a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "act")]
pub enum PluginAct {
    /// A version was installed, with the digest of its bundle.
    Installed {
        /// Which version.
        version: Version,
        /// BLAKE3 of the bundle, lower-case hex.
        bundle: String,
    },
    /// The operator consented to these capabilities; they take the place of those before.
    Granted {
        /// Their names.
        capabilities: Vec<String>,
    },
    /// It may run.
    Enabled,
    /// It may not run.
    Disabled {
        /// Why.
        reason: String,
    },
    /// A bundle was refused.
    Denied {
        /// Why.
        reason: String,
    },
    /// What it was refused and how its calls were ended, summed up over a while, so that no plugin fills the log.
    Incidents {
        /// From when on they were counted.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
        /// The version that ran.
        version: String,
        /// Calls of the node without the grant, by capability.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        denied: BTreeMap<String, u64>,
        /// Calls of the node over the rate, by capability.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        throttled: BTreeMap<String, u64>,
        /// Calls that trapped or were killed, by reason.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        killed: BTreeMap<String, u64>,
        /// How often its circuit breaker opened.
        #[serde(default)]
        openings: u64,
        /// Did it end in quarantine?
        #[serde(default)]
        quarantined: bool,
    },
    /// It was removed. Its highest version is remembered.
    Removed,
    /// A version waits for the operator's consent.
    Held {
        /// Which version.
        version: Version,
        /// BLAKE3 of the bundle, lower-case hex.
        bundle: String,
        /// What it asks for beyond what was consented to.
        asks: Vec<String>,
    },
    /// It went back to the version before. The highest version stays what it was.
    RolledBack {
        /// From which version.
        from: Version,
        /// To which.
        to: Version,
        /// Why.
        reason: String,
    },
    /// This very version is kept until it is unpinned.
    Pinned {
        /// Which version.
        version: Version,
    },
    /// Other versions may take its place again.
    Unpinned,
    /// It was running and was stopped, since it is no longer trusted.
    Stopped {
        /// Why.
        reason: String,
    },
}

/// One line of a plugin's audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginEvent {
    /// Its place in the log.
    pub seq: u64,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What was done, and with which plugin.
    #[serde(flatten)]
    pub change: PluginChange,
}

/// An act and the plugin that it was done with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginChange {
    /// The plugin's id, at most 128 bytes.
    pub plugin: String,
    /// What was done.
    #[serde(flatten)]
    pub act: PluginAct,
}

/// A plugin as its acts left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginRecord {
    /// Its id.
    pub plugin: String,
    /// The highest version that was ever installed.
    pub highest: Option<Version>,
    /// The version that is installed.
    pub version: Option<Version>,
    /// May it run?
    pub is_enabled: bool,
    /// What the operator consented to.
    pub grants: Vec<String>,
    /// When something was last done with it.
    #[serde(with = "time::serde::rfc3339")]
    pub changed: OffsetDateTime,
}

pub(crate) fn apply_changed(conn: &Connection, at: OffsetDateTime, e: &PluginChange) -> Result<()> {
    let known = find(conn, &e.plugin)?;
    let mut record = known.unwrap_or_else(|| PluginRecord {
        plugin: e.plugin.clone(),
        highest: None,
        version: None,
        is_enabled: false,
        grants: Vec::new(),
        changed: at,
    });
    match &e.act {
        // What was refused changes nothing but the log.
        PluginAct::Denied { .. }
        | PluginAct::Incidents { .. }
        | PluginAct::Held { .. }
        | PluginAct::Stopped { .. }
        | PluginAct::Pinned { .. }
        | PluginAct::Unpinned => return Ok(()),
        PluginAct::RolledBack { to, .. } => record.version = Some(to.clone()),
        PluginAct::Installed { version, .. } => {
            record.highest = record.highest.max(Some(version.clone()));
            record.version = Some(version.clone());
        }
        PluginAct::Granted { capabilities } => record.grants.clone_from(capabilities),
        PluginAct::Enabled => record.is_enabled = true,
        PluginAct::Disabled { .. } => record.is_enabled = false,
        PluginAct::Removed => {
            record.version = None;
            record.is_enabled = false;
            record.grants.clear();
        }
    }
    let text = |v: &Option<Version>| v.as_ref().map(Version::to_string);
    conn.prepare_cached("INSERT OR REPLACE INTO plugins(plugin, highest, version, enabled, grants, changed) VALUES(?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            record.plugin,
            text(&record.highest),
            text(&record.version),
            record.is_enabled,
            serde_json::to_string(&record.grants).map_err(Error::unreadable("list of grants"))?,
            micros(at)
        ])?;
    Ok(())
}

const COLUMNS: &str = "SELECT plugin, highest, version, enabled, grants, changed FROM plugins";

fn read_record(row: &Row<'_>) -> Result<PluginRecord> {
    let version = |column| -> Result<Option<Version>> {
        let text: Option<String> = row.get(column)?;
        text.map(|text| text.parse().map_err(Error::unreadable("plugin version"))).transpose()
    };
    Ok(PluginRecord {
        plugin: row.get("plugin")?,
        highest: version("highest")?,
        version: version("version")?,
        is_enabled: row.get("enabled")?,
        grants: serde_json::from_str(&row.get::<_, String>("grants")?).map_err(Error::unreadable("list of grants"))?,
        changed: time(row, "changed")?,
    })
}

fn find(conn: &Connection, plugin: &str) -> Result<Option<PluginRecord>> {
    let mut statement = conn.prepare_cached(&format!("{COLUMNS} WHERE plugin = ?1"))?;
    maybe(statement.query_row([plugin], |row| Ok(read_record(row))))?.transpose()
}

impl Ledger {
    /// Writes down what was done with a plugin.
    pub async fn record_plugin(&self, change: PluginChange, at: OffsetDateTime) -> Result<()> {
        at_most("the plugin's id", change.plugin.len(), 128)?;
        let body = serde_json::to_vec(&change).map_err(Error::unreadable("event"))?;
        at_most("the plugin's event", body.len(), 64 << 10)?;
        self.write(move |tx| tx.append(at, change).map(drop)).await
    }

    /// A plugin as its acts left it.
    pub async fn plugin(&self, plugin: &str) -> Result<Option<PluginRecord>> {
        let plugin = plugin.to_owned();
        self.read(move |conn| find(conn, &plugin)).await
    }

    /// The audit trail: the last acts with a plugin, or with all, newest first and at most so many. Acts are few, so the
    /// log is read through for them.
    pub async fn plugin_events(&self, plugin: Option<&str>, at_most: usize) -> Result<Vec<PluginEvent>> {
        let plugin = plugin.map(str::to_owned);
        self.read(move |conn| {
            let mut statement = conn
                .prepare_cached("SELECT seq, at, body FROM events WHERE kind = 'plugin.changed' ORDER BY seq DESC")?;
            let mut rows = statement.query([])?;
            let mut events = Vec::new();
            while events.len() < at_most
                && let Some(row) = rows.next()?
            {
                let body = row.get_ref("body")?.as_blob().map_err(Error::unreadable("body"))?;
                let change: PluginChange = serde_json::from_slice(body).map_err(Error::unreadable("event"))?;
                if plugin.as_ref().is_none_or(|p| *p == change.plugin) {
                    let at: String = row.get("at")?;
                    let at = OffsetDateTime::parse(&at, &Rfc3339).map_err(Error::unreadable("time"))?;
                    events.push(PluginEvent { seq: count(row, "seq")?, at, change });
                }
            }
            Ok(events)
        })
        .await
    }

    /// All plugins that something was done with, by id.
    pub async fn plugins(&self) -> Result<Vec<PluginRecord>> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached(&format!("{COLUMNS} ORDER BY plugin"))?;
            let mut rows = statement.query([])?;
            let mut records = Vec::new();
            while let Some(row) = rows.next()? {
                records.push(read_record(row)?);
            }
            Ok(records)
        })
        .await
    }

    /// The highest version of a plugin that was ever installed: none below it may be.
    pub async fn highest_version(&self, plugin: &str) -> Result<Option<Version>> {
        Ok(self.plugin(plugin).await?.and_then(|record| record.highest))
    }
}
