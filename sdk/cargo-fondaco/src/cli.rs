//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use fondaco_schemas::{PluginId, PluginKind, PublicKey};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::lang::Lang;

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
  cargo fondaco dev
  cargo fondaco test
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
    /// Run the component against a scripted node: every call, wrong input, denials, limits; for storefronts every page
    Test(Test),
    /// Open the plugin in a node of its own, and build and load it anew each time that a file is saved
    Dev(Dev),
    /// Build the plugin and pack it into a bundle: <id>-<version>.fondaco
    Pack(Pack),
    /// Add a signature to a bundle; the ones that are there stay
    Sign(Sign),
    /// Check a bundle as a node does, and show what it is, who signed it and what it asks for
    Verify(Verify),
    /// Compile a component from standard input; `test` calls this itself
    #[command(hide = true)]
    CompilePlugin,
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
    /// The folder to make; its last part becomes the crate's or package's name
    pub path: PathBuf,
    /// What the plugin does: search, payment, drm, advocacy or storefront
    #[arg(long)]
    pub kind: PluginKind,
    /// The language to write it in
    #[arg(long, value_enum, default_value_t)]
    pub lang: Lang,
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
    /// The plugin's folder, with plugin.toml and Cargo.toml, package.json or requirements.txt
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub path: PathBuf,
}

/// `test`
#[derive(Debug, Args)]
#[command(after_help = "\
Each check is a line; one that fails says what to do. It runs under the runtime and the limits of a node, and needs none.
Exit codes: 0 every check passed, 1 one failed (or the build did)")]
pub struct Test {
    /// The plugin's folder, with plugin.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub path: PathBuf,
    /// Test what the last build left
    #[arg(long, conflicts_with = "component")]
    pub no_build: bool,
    /// Test this component, whatever built it; nothing is built
    #[arg(long, value_name = "FILE")]
    pub component: Option<PathBuf>,
    /// Settings as an operator would give them: a JSON object in a file [default: none]
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// A secret as an operator would set it, NAME=VALUE; any other name has one of the kit's own
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub secret: Vec<(String, String)>,
    /// Only checks whose name begins with this, such as storefront/labels
    #[arg(long, value_name = "NAME", default_value = "")]
    pub only: String,
    /// Show what the plugin prints
    #[arg(long)]
    pub logs: bool,
}

/// `dev`
#[derive(Debug, Args)]
#[command(after_help = "\
The shop is at the address that it prints; the page loads itself anew after each build, and shows what the compiler says
when one fails. The node, its folder and its key are thrown away at the end (ctrl-c).")]
pub struct Dev {
    /// The plugin's folder, with plugin.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub path: PathBuf,
    /// The node's program [default: fondaco beside this program, else on the PATH]
    #[arg(long, value_name = "FILE")]
    pub node: Option<PathBuf>,
    /// Where the browser finds it, on this machine; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8090)]
    pub port: u16,
    /// Another plugin to run beside it: its folder. A storefront, say, for a plugin that is none
    #[arg(long, value_name = "DIR")]
    pub with: Vec<PathBuf>,
    /// A work of your own to publish, a folder with work.toml; the kit's works are there besides
    #[arg(long, value_name = "DIR")]
    pub work: Vec<PathBuf>,
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
#[command(group = clap::ArgGroup::new("whom").required(true).multiple(true).args(["trust", "public", "rebuild"]))]
pub struct Verify {
    /// The bundle
    pub bundle: PathBuf,
    /// Whom a node trusts: its trust.toml
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// Trust this public key alone: 64 hexadecimal digits, as `key show` prints them
    #[arg(long, value_name = "HEX", conflicts_with = "trust")]
    pub public: Option<PublicKey>,
    /// Build it again from its sources, and show whether the same bytes come of it, file by file
    #[arg(long)]
    pub rebuild: bool,
    /// Where its sources are
    #[arg(long, value_name = "DIR", default_value = ".", requires = "rebuild")]
    pub path: PathBuf,
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

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as till=s3cret")?;
    Ok((name.to_owned(), value.to_owned()))
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
