//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use fondaco_schemas::{PluginId, PluginKind, PublicKey};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Make, build, pack, sign and verify Fondaco plugins
#[derive(Debug, Parser)]
#[command(
    name = "cargo fondaco",
    bin_name = "cargo fondaco",
    version,
    after_help = "\
A first plugin:
  cargo fondaco new corner-shop --kind storefront
  cd corner-shop && cargo test
  cargo fondaco key new --out ~/corner-shop.key
  cargo fondaco pack --key ~/corner-shop.key

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused, 4 not found"
)]
pub struct Cli {
    /// Answer with one JSON object on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the folder of a new plugin, with code that works and a test
    New(New),
    /// Build the plugin's WebAssembly component
    Build(Build),
    /// Build the plugin and pack it into a bundle: <id>-<version>.fondaco
    Pack(Pack),
    /// Add a signature to a bundle; the ones that are there stay
    Sign(Sign),
    /// Check a bundle as a node does, and show what it is, who signed it and what it asks for
    Verify(Verify),
    /// Make a signing key, or show the public half of one
    Key {
        /// Which of the two.
        #[command(subcommand)]
        command: KeyCommand,
    },
}

/// `new`
#[derive(Debug, Args)]
pub struct New {
    /// The folder to make; its last part becomes the crate's name
    pub path: PathBuf,
    /// What the plugin does: search, payment, drm, advocacy or storefront
    #[arg(long)]
    pub kind: PluginKind,
    /// The plugin's id: your domain reversed, and a name [default: org.example.<name>]
    #[arg(long)]
    pub id: Option<PluginId>,
    /// Folder of the crate fondaco-sdk [default: the one of the checkout around you, else the published version]
    #[arg(long, value_name = "DIR")]
    pub sdk: Option<PathBuf>,
    /// Make a member of the cargo workspace around the folder, not a workspace of its own
    #[arg(long)]
    pub member: bool,
}

/// `build`
#[derive(Debug, Args)]
pub struct Build {
    /// The plugin's folder, with plugin.toml and Cargo.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub path: PathBuf,
}

/// `pack`
#[derive(Debug, Args)]
pub struct Pack {
    /// The plugin's folder, with plugin.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub path: PathBuf,
    /// Where to put the bundle [default: the plugin's folder]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Sign the bundle with this key, too
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// When it is released, as RFC 3339 [default: SOURCE_DATE_EPOCH, else now]
    #[arg(long, value_name = "TIME", value_parser = rfc3339)]
    pub released: Option<OffsetDateTime>,
    /// Pack what the last build left
    #[arg(long, conflicts_with = "component")]
    pub no_build: bool,
    /// Pack this component, whatever built it; nothing is built
    #[arg(long, value_name = "FILE")]
    pub component: Option<PathBuf>,
}

/// `sign`
#[derive(Debug, Args)]
pub struct Sign {
    /// The bundle; it is replaced by the signed one
    pub bundle: PathBuf,
    /// The key to sign with
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// `verify`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whom").required(true).args(["trust", "public"]))]
pub struct Verify {
    /// The bundle
    pub bundle: PathBuf,
    /// Whom a node trusts: its trust.toml
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// Trust this public key alone: 64 hexadecimal digits, as `key show` prints them
    #[arg(long, value_name = "HEX")]
    pub public: Option<PublicKey>,
    /// Demand that the key with this id is among those that signed
    #[arg(long, value_name = "HEX", value_parser = key_id)]
    pub key_id: Option<String>,
}

/// `key`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a new signing key: Ed25519, PKCS#8 in PEM, readable by you alone
    New {
        /// The file to write; one that is there is never replaced
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show a key's public half and its id
    Show {
        /// The key file
        file: PathBuf,
    },
}

fn rfc3339(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "write RFC 3339, such as 2030-01-31T12:00:00Z".to_owned())
}

fn key_id(text: &str) -> Result<String, String> {
    let id = text.to_ascii_lowercase();
    let fits = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
    if fits { Ok(id) } else { Err("a key id has 64 hexadecimal digits, as `key show` prints them".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_does_not_contradict_itself() {
        super::Cli::command().debug_assert();
    }
}
