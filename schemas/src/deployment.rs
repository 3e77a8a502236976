//! The deployment file, `fondaco.toml`: the brand, where the node listens and keeps things, and what the operator
//! decided about each plugin.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::capability::Grants;
use crate::manifest::{Limits, PluginId};
use crate::network::Network;
use crate::problem::{Problems, Table, read};
use crate::registry::{Registry, RegistryName};
use crate::{ByteSize, Span};

/// Name of the deployment file.
pub const DEPLOYMENT_FILE: &str = "fondaco.toml";

/// Everything that an operator says about a deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// What people see.
    pub brand: Brand,
    /// Where people come in.
    #[serde(default)]
    pub gateway: Gateway,
    /// Where works are kept.
    #[serde(default)]
    pub storage: Storage,
    /// Where orders, entitlements and plugin data are kept.
    #[serde(default)]
    pub database: Database,
    /// Who publishes here.
    #[serde(default)]
    pub publisher: Publisher,
    /// What all plugins together may use.
    #[serde(default)]
    pub runtime: Runtime,
    /// How other servers are called, by the node and by plugins.
    #[serde(default)]
    pub outbound: Outbound,
    /// Whether and how the node is part of the swarm.
    #[serde(default)]
    pub network: Network,
    /// Which plugin plays which part.
    #[serde(default)]
    pub shop: Shop,
    /// The plugins, by id. Only those named here run.
    #[serde(default)]
    pub plugins: BTreeMap<PluginId, Plugin>,
    /// Where plugins are fetched from, by name.
    #[serde(default)]
    pub registries: BTreeMap<RegistryName, Registry>,
}

/// What people see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Brand {
    /// The shop's name.
    pub name: String,
    /// One line under it.
    #[serde(default)]
    pub tagline: String,
    /// The language that pages have where nobody asks for another (BCP 47).
    #[serde(default = "english")]
    pub locale: Locale,
    /// All languages that pages come in, with the one above.
    #[serde(default)]
    pub locales: Vec<Locale>,
    /// The address that people reach it under; absent: the one that it listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<BaseUrl>,
    /// A mail address or a page for questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// A file under `theme/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo: Option<String>,
    /// Names of design tokens and their colours, as in CSS: `accent = "#a33"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub colors: BTreeMap<String, Color>,
}

/// Where people come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Address and port; port 0 takes a free one.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// What one visitor may take up.
    pub limits: GatewayLimits,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)), limits: GatewayLimits::default() }
    }
}

/// What one visitor may take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct GatewayLimits {
    /// Open connections, of all visitors together.
    pub connections: u32,
    /// Open connections of one address.
    pub connections_per_address: u32,
    /// The headers of a request.
    pub headers: ByteSize,
    /// The body of a request.
    pub body: ByteSize,
    /// How long the headers of a request may take to arrive.
    pub header_time: Span,
    /// How long the body of a request may take to arrive.
    pub body_time: Span,
    /// How long a visitor may take nothing of what is sent.
    pub stall: Span,
    /// How long a connection may stay open unused.
    pub idle: Span,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: 128,
            headers: ByteSize::bytes(32 << 10),
            body: ByteSize::mib(1),
            header_time: Span::secs(10),
            body_time: Span::secs(30),
            stall: Span::secs(60),
            idle: Span::secs(60),
        }
    }
}

/// Where works are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// A folder, taken from the deployment's.
    pub dir: String,
    /// The most that all works together may take; absent: as much as there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<ByteSize>,
}

impl Default for Storage {
    fn default() -> Self {
        Self { dir: "data".to_owned(), quota: None }
    }
}

/// Where orders, entitlements and plugin data are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// A SQLite file, taken from the storage folder.
    pub file: String,
}

impl Default for Database {
    fn default() -> Self {
        Self { file: "ledger.db".to_owned() }
    }
}

/// Who publishes here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Publisher {
    /// The name that works are shown under; absent: the brand's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The key file that releases are signed with, taken from the storage folder.
    pub key: String,
}

impl Default for Publisher {
    fn default() -> Self {
        Self { name: None, key: "keys/publisher.pem".to_owned() }
    }
}

/// What all plugins together may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Runtime {
    /// Memory of all calls that run at the same time. Half of it is set aside in equal parts, one for each plugin; the
    /// other half goes to whoever comes first.
    pub memory: ByteSize,
}

impl Default for Runtime {
    fn default() -> Self {
        Self { memory: ByteSize::mib(256) }
    }
}

impl Runtime {
    fn read(t: &mut Table<'_>) -> Self {
        let memory: Option<ByteSize> = t.optional("memory");
        if memory.is_some_and(|m| m < ByteSize::mib(64)) {
            t.problem("memory", "one call alone may take 64MiB, so give all plugins together no less");
        }
        Self { memory: memory.unwrap_or(Self::default().memory) }
    }
}

/// How other servers are called, by the node and by plugins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// Files of certificate authorities (PEM), taken from the deployment's folder, that are trusted besides the web's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorities: Vec<String>,
}

/// Which plugin plays which part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shop {
    /// Draws the pages; absent: the only storefront there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storefront: Option<PluginId>,
    /// Search providers that are asked, in this order; empty: all that there are.
    pub search: Vec<PluginId>,
    /// Payment gateways that are offered, in this order; empty: all that there are.
    pub payments: Vec<PluginId>,
    /// Advocacy modules whose campaigns are shown, in this order; empty: all that there are.
    pub advocacy: Vec<PluginId>,
}

/// What the operator decided about a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Plugin {
    /// Which versions may run; absent: any.
    #[schemars(with = "String")]
    pub version: semver::VersionReq,
    /// Does it run?
    pub enabled: bool,
    /// What it is set to; checked against the JSON Schema in its bundle.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Secrets by name. Never values: where the host finds them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretRef>,
    /// What it may do: a list of capability names, or a table with hosts and quotas.
    #[schemars(with = "GrantForms")]
    pub grant: Grants,
    /// How much it may use.
    pub limits: Limits,
}

impl Default for Plugin {
    fn default() -> Self {
        Self {
            version: semver::VersionReq::STAR,
            enabled: true,
            settings: serde_json::Map::new(),
            secrets: BTreeMap::new(),
            grant: Grants::default(),
            limits: Limits::default(),
        }
    }
}

/// The two ways in which a grant is written, for the JSON Schema.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum GrantForms {
    Names(Vec<crate::Capability>),
    Table(Grants),
}

macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident, $check:expr, $error:ident, $why:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        #[doc = concat!("Why a text is no [`", stringify!($name), "`].")]
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[error($why)]
        pub struct $error(String);

        impl $name {
            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                let ok: fn(&str) -> bool = $check;
                if ok(text) { Ok(Self(text.to_owned())) } else { Err($error(text.chars().take(120).collect())) }
            }
        }
        impl TryFrom<String> for $name {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_value!(
    /// A language tag (BCP 47), such as `en` or `fr-CA`.
    Locale,
    |t| {
        let mut parts = t.split('-');
        t.len() <= 35
            && parts.next().is_some_and(|p| (2..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphabetic()))
            && parts.all(|p| (1..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric()))
    },
    LocaleError,
    "{0:?} is no language tag: write BCP 47, such as en or fr-CA"
);
text_value!(
    /// A web address without a trailing slash, query or fragment: `https://shop.example.org`.
    BaseUrl,
    |t| {
        let (scheme, rest) = t.split_once("://").unwrap_or_default();
        let (host, path) = rest.split_once('/').map_or((rest, None), |(h, p)| (h, Some(p)));
        let origin = format!("{scheme}://{host}");
        origin.parse::<crate::origin::Origin>().is_ok()
            && path.is_none_or(|p| !p.is_empty() && !p.ends_with('/'))
            && rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"'<>\\".contains(&b))
    },
    BaseUrlError,
    "{0:?} is no base address: write scheme and host in lower case and no slash at the end, such as \"https://shop.example.org\""
);
text_value!(
    /// A colour as CSS has it: `#a33`, `#aa3333`, `oklch(70% 0.1 20)` or a name.
    Color,
    |t| {
        let hex = |h: &str| [3, 4, 6, 8].contains(&h.len()) && h.bytes().all(|b| b.is_ascii_hexdigit());
        let word = |b: u8| b.is_ascii_alphanumeric() || b" .,%/()+-".contains(&b);
        t.strip_prefix('#').map_or_else(
            || t.len() <= 64 && t.starts_with(|c: char| c.is_ascii_lowercase()) && t.bytes().all(word),
            hex,
        )
    },
    ColorError,
    "{0:?} is no colour: write #rrggbb, a CSS colour function or a CSS colour name"
);

fn english() -> Locale {
    Locale("en".to_owned())
}

/// Where the host finds a secret: `env:NAME` or `file:path`, the path taken from the deployment's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// The contents of a file, without a newline at its end.
    File(String),
}

/// Why a text says nowhere where a secret is. It does not repeat the text, which may be the secret itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret is never written here: write \"env:NAME\" or \"file:path\" for where it is kept")]
pub struct SecretRefError;

impl FromStr for SecretRef {
    type Err = SecretRefError;
    fn from_str(text: &str) -> Result<Self, SecretRefError> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.to_owned())),
            _ => Err(SecretRefError),
        }
    }
}
impl TryFrom<String> for SecretRef {
    type Error = SecretRefError;
    fn try_from(text: String) -> Result<Self, SecretRefError> {
        text.parse()
    }
}
impl From<SecretRef> for String {
    fn from(secret: SecretRef) -> Self {
        secret.to_string()
    }
}
impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
        }
    }
}

impl Deployment {
    /// Reads `fondaco.toml`. `Problems` names every mistake with its line and column.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        read(DEPLOYMENT_FILE, text, Self::read)
    }

    /// The address that people reach it under.
    pub fn base_url(&self) -> String {
        self.brand.base_url.as_ref().map_or_else(|| format!("http://{}", self.gateway.listen), ToString::to_string)
    }

    fn read(t: &mut Table<'_>) -> Option<Self> {
        let brand = t.table("brand", Brand::read);
        if brand.is_none() && !t.has("brand") {
            t.problem("brand", "[brand] is missing: give the shop a name");
        }
        let gateway = t.table("gateway", Gateway::read).unwrap_or_default();
        let storage = t.table("storage", |t| {
            let default = Storage::default();
            Storage { dir: t.optional("dir").unwrap_or(default.dir), quota: t.optional("quota") }
        });
        let database =
            t.table("database", |t| Database { file: t.optional("file").unwrap_or_else(|| Database::default().file) });
        let publisher = t.table("publisher", |t| Publisher {
            name: t.optional("name"),
            key: t.optional("key").unwrap_or_else(|| Publisher::default().key),
        });
        let runtime = t.table("runtime", Runtime::read).unwrap_or_default();
        let outbound = t.table("outbound", |t| Outbound { authorities: t.list("authorities") });
        let network = t.table("network", Network::read);
        let plugins = t.map("plugins", |_: &PluginId, t| Some(Plugin::read(t)));
        let shop = t.table("shop", |t| Shop::read(t, &plugins));
        let registries = t.map("registries", |_: &RegistryName, t| Registry::read(t));
        Some(Self {
            brand: brand.flatten()?,
            gateway,
            storage: storage.unwrap_or_default(),
            database: database.unwrap_or_default(),
            publisher: publisher.unwrap_or_default(),
            runtime,
            outbound: outbound.unwrap_or_default(),
            network: network.unwrap_or_default(),
            shop: shop.unwrap_or_default(),
            plugins,
            registries,
        })
    }
}

impl Brand {
    fn read(t: &mut Table<'_>) -> Option<Self> {
        let name = t.text("name");
        let locale = t.optional("locale").unwrap_or_else(english);
        let mut locales = t.list("locales");
        if !locales.contains(&locale) {
            locales.insert(0, locale.clone());
        }
        Some(Self {
            tagline: t.optional("tagline").unwrap_or_default(),
            locale,
            locales,
            base_url: t.optional("base-url"),
            contact: t.optional("contact"),
            logo: t.optional("logo"),
            colors: t.texts("colors"),
            name: name?,
        })
    }
}

impl Gateway {
    fn read(t: &mut Table<'_>) -> Self {
        let listen = t.optional::<ListenAddress>("listen").map_or_else(|| Self::default().listen, |l| l.0);
        Self { listen, limits: t.table("limits", GatewayLimits::read).unwrap_or_default() }
    }
}

struct ListenAddress(SocketAddr);

impl FromStr for ListenAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.parse().map(Self);
        parsed.map_err(|_| format!("{text:?} is no address to listen on: write \"127.0.0.1:8080\" or \"[::]:8080\""))
    }
}

impl GatewayLimits {
    fn read(t: &mut Table<'_>) -> Self {
        let default = Self::default();
        Self {
            connections: t.number("connections").unwrap_or(default.connections),
            connections_per_address: t.number("connections-per-address").unwrap_or(default.connections_per_address),
            headers: t.optional("headers").unwrap_or(default.headers),
            body: t.optional("body").unwrap_or(default.body),
            header_time: t.optional("header-time").unwrap_or(default.header_time),
            body_time: t.optional("body-time").unwrap_or(default.body_time),
            stall: t.optional("stall").unwrap_or(default.stall),
            idle: t.optional("idle").unwrap_or(default.idle),
        }
    }
}

impl Plugin {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            version: t.optional("version").unwrap_or(semver::VersionReq::STAR),
            enabled: t.flag("enabled").unwrap_or(true),
            settings: t.free("settings"),
            secrets: t.texts("secrets"),
            grant: Grants::read(t, "grant"),
            limits: t.table("limits", Limits::read).unwrap_or_default(),
        }
    }
}

impl Shop {
    fn read(t: &mut Table<'_>, plugins: &BTreeMap<PluginId, Plugin>) -> Self {
        let shop = Self {
            storefront: t.optional("storefront"),
            search: t.list("search"),
            payments: t.list("payments"),
            advocacy: t.list("advocacy"),
        };
        let named = shop.storefront.iter().map(|id| ("storefront", id));
        let named = named.chain(shop.search.iter().map(|id| ("search", id)));
        let named = named.chain(shop.payments.iter().map(|id| ("payments", id)));
        for (key, id) in named.chain(shop.advocacy.iter().map(|id| ("advocacy", id))) {
            if !plugins.contains_key(id) {
                let hint = crate::problem::hint(id.as_str(), plugins.keys().map(PluginId::as_str));
                t.problem(key, format!("shop.{key} names {id}, and there is no [plugins.\"{id}\"]{hint}"));
            }
        }
        shop
    }
}

#[cfg(test)]
#[path = "deployment_tests.rs"]
pub(crate) mod tests;
