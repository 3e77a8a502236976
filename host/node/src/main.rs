//! The fondaco node and its command line. This is the composition root: it reads arguments, opens what a command needs,
//! and turns a failure into a sentence and an exit code.

mod channels;
mod cli;
mod commands;
mod control;
mod fail;
mod fetches;
mod find;
mod folder;
mod following;
mod membership;
mod mirroring;
mod named;
mod node;
#[cfg(any(feature = "otel", test))]
mod otel;
mod out;
mod outbound;
mod plugins;
mod receipts;
mod registry;
mod swarm;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command, Network, NodeCommand};
use fail::{Done, Fail};
use folder::Folder;
use node::Node;
use out::Out;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::CompilePlugin) {
        return match fondaco_runtime::compile_stdin() {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        };
    }
    if let Err(why) = log(cli.verbose, matches!(cli.command, Command::Up(_))) {
        eprintln!("fondaco: {why}");
        return ExitCode::FAILURE;
    }
    let json = cli.json;
    let done = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let done = runtime.block_on(run(cli));
            // A blocking read that hangs on a dead disk must not hold the process.
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
            done
        }
        Err(e) => Err(Fail::failed(e)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => {
            if json {
                println!("{}", serde_json::json!({ "error": fail.text, "code": fail.code }));
            }
            eprintln!("fondaco: {fail}");
            ExitCode::from(fail.code)
        }
    }
}

/// The log goes to standard error: warnings for commands, what operators want to know for a running node. Spans go to
/// an OpenTelemetry collector too, where the program was built for that and the environment names one.
#[cfg_attr(not(feature = "otel"), expect(clippy::unnecessary_wraps, reason = "a collector's address can be wrong"))]
fn log(verbose: u8, is_node: bool) -> Result<(), String> {
    let level = match (verbose, is_node) {
        (0, false) => "warn,plugin=info,libp2p_kad=error",
        (0, true) => "info,libp2p_swarm=warn,libp2p_kad=error,libp2p_autonat=error",
        (1, _) => "debug,wasmtime=info,hyper=info",
        _ => "trace",
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    // Colours are for people: in a file they are noise around what is searched for.
    let lines = lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let registry = tracing_subscriber::registry().with(lines.with_filter(EnvFilter::new(level)));
    #[cfg(feature = "otel")]
    let registry = registry.with(match std::env::var(otel::ENDPOINT) {
        Ok(endpoint) if is_node => {
            let endpoint = otel::Endpoint::parse(&endpoint)?;
            Some(otel::start(endpoint).map_err(|e| e.to_string())?.with_filter(otel::Ours))
        }
        _ => None,
    });
    registry.init();
    Ok(())
}

async fn run(cli: Cli) -> Done {
    let out = Out::terminal();
    let json = cli.json;
    match cli.command {
        Command::Init(args) => commands::init(&args, json, &out),
        Command::Check(args) => commands::check(&Folder::open(&cli.dir)?, args.deep, json, &out).await,
        Command::Up(args) => commands::up(Folder::open(&cli.dir)?, &args, json, &out).await,
        Command::Key(args) => commands::key(&cli.dir, &args, json, &out),
        Command::Trust(args) => commands::trust(&Folder::open(&cli.dir)?, &args, json, &out),
        Command::Registry(args) => commands::registry(args, json, &out),
        Command::Open(args) => commands::open(&Folder::open(&cli.dir)?, &args, json, &out).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "fondaco", &mut std::io::stdout());
            Ok(())
        }
        Command::CompilePlugin => Ok(()),
        // Whoever keeps a network's key need not have a node.
        Command::Node(NodeCommand::Net(Network::Invite(args))) => commands::invite(&args, json, &out),
        Command::Node(NodeCommand::Net(Network::Join { token })) => {
            commands::join(&Folder::open(&cli.dir)?, &token, json, &out)
        }
        Command::Node(command) => on_data(&Folder::open(&cli.dir)?, command, json, &out).await,
    }
}

/// Has the running node carry out a command, or opens the data for it.
async fn on_data(folder: &Folder, command: NodeCommand, json: bool, out: &Out) -> Done {
    let Some(command) = commands::ask(folder, command, json, out).await? else { return Ok(()) };
    let command = prepared(folder, command, out)?;
    if let NodeCommand::Plugin(cli::Plugin::Verify { bundle }) = &command {
        return commands::verify_offline(folder, bundle, false, json, out).map(|_| ());
    }
    let deployment = folder.deployment()?;
    if let Some(done) = control::ask(&folder.socket(&deployment), &command, json, out).await {
        return done;
    }
    if let NodeCommand::Plugin(cli::Plugin::Logs { .. }) = &command {
        return Err(Fail::unavailable("the node is not running, and keeps what plugins print only while it runs"));
    }
    let node = Node::open(folder.clone(), None).await?;
    let done = commands::run(&node, command, json, out).await;
    node.close().await;
    done
}

/// Paths made absolute, and consent asked for where there is a person to ask.
fn prepared(folder: &Folder, command: NodeCommand, out: &Out) -> Done<NodeCommand> {
    let full = |p: std::path::PathBuf| std::path::absolute(&p).unwrap_or(p);
    Ok(match command {
        NodeCommand::Publish(mut args) => {
            args.source = full(args.source);
            args.work = args.work.map(full);
            NodeCommand::Publish(args)
        }
        NodeCommand::Get(mut args) if named::is_elsewhere(&args.work) => {
            // What the folder is called is known only once the release is here.
            args.beside = Some(full(".".into()));
            args.out = args.out.map(full);
            NodeCommand::Get(args)
        }
        NodeCommand::Get(mut args) => {
            let slug = args.work.rsplit('/').next().unwrap_or_default().to_owned();
            args.out = Some(full(args.out.unwrap_or_else(|| slug.into())));
            NodeCommand::Get(args)
        }
        NodeCommand::Plugin(cli::Plugin::Install { bundle, registry, grant: None, allow_rollback, .. }) => {
            let bundle = full(bundle);
            let (grant, expect) = commands::consent(folder, &bundle, allow_rollback, out)?;
            let grant = Some(grant);
            NodeCommand::Plugin(cli::Plugin::Install { bundle, registry, grant, allow_rollback, expect })
        }
        NodeCommand::Plugin(command) => NodeCommand::Plugin(commands::absolute(command)),
        other => other,
    })
}
