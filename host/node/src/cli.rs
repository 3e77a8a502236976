//! The command line, as clap reads it. What each command does is in `commands/`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use fondaco_schemas::{BlobHash, ByteSize, PluginId, PluginKind, PublicKey, RegistryName, WorkKind};
use serde::{Deserialize, Serialize};

/// Run a branded distribution node: publish works, sell or lend them lawfully, let the public speak up.
#[derive(Parser, Debug)]
#[command(name = "fondaco", version, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 refused (signature, grant, policy), 4 not found, 5 unavailable.\n\
    Begin with `fondaco init my-shop`, then `fondaco -C my-shop up`."
)]
pub struct Cli {
    /// The deployment's folder.
    #[arg(short = 'C', long = "dir", global = true, default_value = ".", value_name = "FOLDER")]
    pub dir: PathBuf,
    /// Answer in JSON, a value a line.
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more about what happens; twice: everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What there is to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make a deployment's folder, with comments in its files.
    Init(Init),
    /// Say everything that is wrong with the deployment, all at once.
    Check(Check),
    /// Run the node until ctrl-c.
    Up(Up),
    /// Make and show keys.
    #[command(subcommand)]
    Key(Key),
    /// Say whose plugins may run here.
    #[command(subcommand)]
    Trust(Trust),
    /// Make and keep a registry of plugins.
    #[command(subcommand)]
    Registry(crate::commands::Registry),
    /// Open a protected file with its licence and a library's key.
    Open(Open),
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Compile a component from standard input; the node calls this itself.
    #[command(hide = true)]
    CompilePlugin,
    /// Everything that needs the node's data.
    #[command(flatten)]
    Node(NodeCommand),
}

/// Commands on the node's data. Where the node is running they are carried out by it.
#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
pub enum NodeCommand {
    /// Publish a file or a folder as a work, described by a work.toml.
    Publish(Publish),
    /// Take a work out of the catalogue. Whoever bought it keeps it.
    Unpublish {
        /// Its id or slug.
        work: String,
    },
    /// List the works of this node.
    Works,
    /// Search the works of this node, and with --peers those of others.
    Search(Search),
    /// Copy a work's files out of the node, verified; those of a work from elsewhere are fetched from the swarm first.
    Get(Get),
    /// Fetch a work from elsewhere and keep it, to give it to others.
    Seed {
        /// Its `fondaco:` link, as `fondaco works` prints it, its release's id, or the address of its page at a node's shop.
        work: String,
        /// Take it into the catalogue now, and fetch each of its files when somebody first asks for it.
        #[arg(long)]
        lazy: bool,
    },
    /// Show this node's own channel: the link by which others follow what is published here.
    Channel,
    /// Follow a publisher's channel: its works are listed and found here, and their files come when they are asked for.
    Follow(Follow),
    /// Follow a channel no longer. Its works stay in the catalogue.
    Unfollow {
        /// Its link, or its publisher's key.
        channel: String,
    },
    /// Keep the works of a channel here, and give them to others.
    Mirror(MirrorArgs),
    /// Show who is in the swarm, and how this node is found there.
    Peers {
        /// Who shares this work, and what went from and to each of them: its id or slug.
        #[arg(long, value_name = "WORK")]
        work: Option<String>,
    },
    /// Look into how this node is part of the swarm.
    #[command(subcommand)]
    Net(Network),
    /// Show who delivered how much of which work, as signed receipts say.
    Receipts {
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// List orders, the newest first.
    Orders {
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Install plugins, and say what they may do.
    #[command(subcommand)]
    Plugin(Plugin),
    /// Show what the node is made of and how it is.
    Status,
    /// Delete blobs that no release needs.
    Gc {
        /// Spare what is younger, in hours.
        #[arg(long, default_value_t = 24)]
        grace_hours: u64,
    },
    /// Verify every stored byte and the log's chain; `fondaco check --deep` calls this.
    #[command(hide = true)]
    DeepCheck,
}

/// `fondaco net`.
#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
pub enum Network {
    /// Examine whether others reach this node, how, and say what to do where they do not.
    Doctor {
        /// How long to wait for what is not known yet.
        #[arg(long, default_value = "25s", value_name = "TIME")]
        wait: fondaco_schemas::Span,
    },
    /// Sign a token with which a node joins a private network; print it.
    Invite(Invite),
    /// Put the token in its place with which this node is a member of a private network.
    Join {
        /// The token, as `fondaco net invite` prints it, or the file that it is in.
        token: String,
    },
}

/// `fondaco net invite`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Invite {
    /// The node that is to join: its id in the swarm (12D3Koo…), or its public key.
    #[arg(value_name = "NODE")]
    pub node: String,
    /// The key file of the network's authority, as `fondaco key new` makes one.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// What the node is called, for people.
    #[arg(long)]
    pub name: Option<String>,
    /// For how many days the token holds. Nothing but its end takes it back.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Write it into this file instead.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `fondaco init`.
#[derive(Args, Debug)]
pub struct Init {
    /// The folder to make.
    pub folder: PathBuf,
    /// The shop's name; absent: the folder's.
    #[arg(long)]
    pub name: Option<String>,
    /// A line below the name.
    #[arg(long, default_value = "")]
    pub tagline: String,
}

/// `fondaco check`.
#[derive(Args, Debug)]
pub struct Check {
    /// Also verify every stored byte and the log's chain.
    #[arg(long)]
    pub deep: bool,
}

/// `fondaco up`.
#[derive(Args, Debug)]
pub struct Up {
    /// Listen here instead of where fondaco.toml says; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// The clock was ahead when this node wrote last, and is right now: go on from here.
    #[arg(long)]
    pub clock_was_wrong: bool,
}

/// `fondaco key`.
#[derive(Subcommand, Debug)]
pub enum Key {
    /// Make an Ed25519 key and write it to a file that only you can read.
    New {
        /// The file; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show the public half of a key file; without one, the node's and the publisher's.
    Show {
        /// The file.
        file: Option<PathBuf>,
    },
}

/// `fondaco trust`.
#[derive(Subcommand, Debug)]
pub enum Trust {
    /// Trust somebody's plugins.
    Add(TrustAdd),
    /// List who is trusted with what.
    List,
    /// Trust a key, or the bundle of this digest, no longer.
    Revoke {
        /// A public key or a bundle's BLAKE3, 64 hexadecimal digits.
        what: String,
        /// It is a bundle's digest, not a key.
        #[arg(long)]
        bundle: bool,
    },
}

/// `fondaco trust add`.
#[derive(Args, Debug)]
pub struct TrustAdd {
    /// Who it is, as you call them.
    pub name: String,
    /// Their public key.
    #[arg(long = "key", required = true, value_name = "HEX")]
    pub keys: Vec<PublicKey>,
    /// Which plugin ids they may sign: `org.example` stands for all that begin with `org.example.`
    #[arg(long = "prefix", required = true, value_name = "ID")]
    pub prefixes: Vec<String>,
    /// Which kinds they may sign; absent: all.
    #[arg(long = "kind", value_parser = kind)]
    pub kinds: Vec<PluginKind>,
    /// So many of their keys must have signed.
    #[arg(long, default_value_t = 1)]
    pub threshold: u32,
}

fn kind(text: &str) -> Result<PluginKind, String> {
    let all = [PluginKind::Search, PluginKind::Payment, PluginKind::Drm, PluginKind::Advocacy, PluginKind::Storefront];
    all.into_iter()
        .find(|k| k.as_str() == text)
        .ok_or_else(|| format!("choose one of {}", all.map(PluginKind::as_str).join(", ")))
}

/// `fondaco open`.
#[derive(Args, Debug)]
pub struct Open {
    /// The protected file.
    pub file: PathBuf,
    /// Its licence; absent: the file's name without `.sealed`, with `.licence`.
    #[arg(long, alias = "license", value_name = "FILE")]
    pub licence: Option<PathBuf>,
    /// The library's key file.
    #[arg(long, value_name = "FILE", default_value = "library.key")]
    pub key: PathBuf,
    /// Where the opened file goes; absent: the file's name without `.sealed`.
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The DRM plugin; absent: the only one that is installed.
    #[arg(long, value_name = "ID")]
    pub scheme: Option<PluginId>,
}

/// `fondaco publish`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Publish {
    /// A file, or a folder whose files make up the work.
    pub source: PathBuf,
    /// The work's description; absent: work.toml in the folder, or beside the file.
    #[arg(long, value_name = "FILE")]
    pub work: Option<PathBuf>,
    /// Leave the bytes where they are; they must never change.
    #[arg(long)]
    pub in_place: bool,
}

/// `fondaco search`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Search {
    /// What to look for.
    pub text: Vec<String>,
    /// At most so many hits.
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
    /// Ask other nodes too. They learn the words, and that they come from this node.
    #[arg(long)]
    pub peers: bool,
    /// Ask only those nodes that fondaco.toml names (allow, bootstrap, trusted).
    #[arg(long)]
    pub trusted: bool,
    /// How long to wait for other nodes after this one's own answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pub wait: u32,
}

/// `fondaco get`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Get {
    /// Its id or slug; or of a work from elsewhere its `fondaco:` link, its release's id, or the address of its page at a
    /// node's shop.
    pub work: String,
    /// The folder to copy into; absent: the slug.
    #[arg(long, short, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Where the folder of a work from elsewhere is made.
    #[arg(skip)]
    pub beside: Option<PathBuf>,
}

/// `fondaco follow`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Follow {
    /// The channel's link, as `fondaco channel` prints it, or its publisher's key.
    #[arg(required_unless_present = "list")]
    pub channel: Option<String>,
    /// List the channels that are followed.
    #[arg(long, conflicts_with = "channel")]
    pub list: bool,
}

/// `fondaco mirror`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct MirrorArgs {
    /// The channel's link, as `fondaco channel` prints it, or its publisher's key.
    #[arg(required_unless_present = "list")]
    pub channel: Option<String>,
    /// Only works with this tag; several: with any of them.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Only works of this kind, such as album or book; several: of any of them.
    #[arg(long = "kind", value_name = "KIND", value_parser = work_kind)]
    pub kinds: Vec<WorkKind>,
    /// At most so much, the newest first, such as 50GiB.
    #[arg(long, value_name = "SIZE")]
    pub quota: Option<ByteSize>,
    /// List the mirrors, and what of them is here.
    #[arg(long, conflicts_with_all = ["channel", "tags", "kinds", "quota", "remove"])]
    pub list: bool,
    /// End it: let the works go that it brought, and follow the channel still.
    #[arg(long, conflicts_with_all = ["tags", "kinds", "quota"])]
    pub remove: bool,
}

fn work_kind(text: &str) -> Result<WorkKind, String> {
    serde_json::from_value(text.into()).map_err(|e| e.to_string())
}

/// `fondaco plugin`.
#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
pub enum Plugin {
    /// Install a bundle: show what it asks for, ask for consent, try it, put it in place.
    Install {
        /// The bundle, a `.fondaco` file; a folder, for the highest version of each plugin in it that fits fondaco.toml; or a
        /// plugin of a registry: `org.example.shelf`, `org.example.shelf@1.4.0`.
        bundle: PathBuf,
        /// From this registry; absent: from any that fondaco.toml names.
        #[arg(long, value_name = "NAME")]
        registry: Option<RegistryName>,
        /// Grant without being asked: `all`, or names of capabilities.
        #[arg(long, value_delimiter = ',', value_name = "CAPABILITY")]
        grant: Option<Vec<String>>,
        /// Allow a version below the highest that was installed.
        #[arg(long)]
        allow_rollback: bool,
        /// The bundles that somebody was asked about.
        #[arg(skip)]
        expect: Vec<BlobHash>,
    },
    /// Bring newer versions in. One that asks for more than was granted is held, and the one before keeps running.
    Update {
        /// Of this plugin; absent: of all.
        id: Option<PluginId>,
        /// A bundle, or a folder of them; absent: what is held, or else what registries have.
        #[arg(long, value_name = "FILE|FOLDER", conflicts_with = "registry")]
        from: Option<PathBuf>,
        /// From this registry.
        #[arg(long, value_name = "NAME")]
        registry: Option<RegistryName>,
        /// Grant what it asks for: `all`, or names of capabilities.
        #[arg(long, value_delimiter = ',', value_name = "CAPABILITY")]
        grant: Option<Vec<String>>,
        /// Take only the bundle with this BLAKE3, as `plugin info` shows it.
        #[arg(long, value_name = "HEX", requires = "id")]
        expect: Option<BlobHash>,
    },
    /// Search the registries that fondaco.toml names.
    Search {
        /// What to look for; absent: everything.
        words: Vec<String>,
        /// In this registry only.
        #[arg(long, value_name = "NAME")]
        registry: Option<RegistryName>,
    },
    /// Show for which installed plugins the registries have newer versions.
    Outdated {
        /// In this registry only.
        #[arg(long, value_name = "NAME")]
        registry: Option<RegistryName>,
    },
    /// Go back to the version before. What lies between stays refused.
    Rollback {
        /// Its id.
        id: PluginId,
    },
    /// Keep exactly this version, whatever is offered.
    Pin {
        /// Its id.
        id: PluginId,
        /// Let other versions in again.
        #[arg(long)]
        off: bool,
    },
    /// Show what it printed last, and which of its calls failed.
    Logs {
        /// Its id.
        id: PluginId,
        /// Go on until ctrl-c.
        #[arg(long, short)]
        follow: bool,
        /// At most so many lines of what there is.
        #[arg(long, short = 'n', default_value_t = 100)]
        lines: usize,
    },
    /// List the installed plugins.
    List,
    /// Show one: what it asks for, what holds, its limits and its calls.
    Info {
        /// Its id.
        id: PluginId,
    },
    /// Verify a bundle without installing it.
    Verify {
        /// The bundle.
        bundle: PathBuf,
    },
    /// Grant a capability that a plugin asks for.
    Grant {
        /// Its id.
        id: PluginId,
        /// Names of capabilities.
        #[arg(required = true)]
        capabilities: Vec<String>,
        /// Take them away instead.
        #[arg(long)]
        revoke: bool,
    },
    /// Show its audit trail: installs, grants, and what it was refused and killed for. Without an id, everybody's.
    Audit {
        /// Its id.
        id: Option<PluginId>,
        /// At most so many events, the newest first.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Let it run.
    Enable {
        /// Its id.
        id: PluginId,
    },
    /// Keep it installed, but do not run it.
    Disable {
        /// Its id.
        id: PluginId,
    },
    /// Remove it. Its data stays; its highest version is remembered.
    Remove {
        /// Its id.
        id: PluginId,
    },
    /// Run one of its tools; without a tool, list them.
    Run {
        /// Its id.
        id: PluginId,
        /// The tool.
        tool: Option<String>,
        /// Its parameters, as name=value.
        input: Vec<String>,
        /// Write what it makes to this file; absent: to standard output.
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}
