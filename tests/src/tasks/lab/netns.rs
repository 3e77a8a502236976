//! `cargo lab run`: real nodes in network namespaces that the lab makes itself and takes away again. One namespace is the
//! street; homes hang on it directly, or behind a translation of addresses of their own. Rates are the kernel's (`tc`), and
//! so are delay and loss where it has `netem`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{program, workspace};

/// How long a scenario may take.
const PATIENCE: Duration = Duration::from_mins(3);
/// The street's network: addresses for documentation (RFC 5737), which nobody has and which count as public.
const STREET: &str = "198.51.100";

/// `cargo lab run`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Which scenarios: find, relay, symmetric, killed, idle; absent: all
    scenarios: Vec<String>,
    /// How many nodes, where a scenario says nothing else
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=50))]
    nodes: u32,
    /// The rate of each home's line, as tc takes it
    #[arg(long, default_value = "100mbit")]
    rate: String,
    /// A delay on each line, where the kernel has netem
    #[arg(long, value_name = "TIME")]
    delay: Option<String>,
    /// A part of packets that is lost, where the kernel has netem
    #[arg(long, value_name = "PERCENT")]
    loss: Option<String>,
}

type Scenario = fn(&Options) -> Result<()>;

/// How a home hangs on the street.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// With an address of the street.
    Open,
    /// Behind a translation that gives one port outside for each inside.
    Behind,
    /// Behind one that gives another port for each peer.
    Symmetric,
}

/// Runs scenarios, each in a street of its own.
pub fn run(options: &Options) -> Result<()> {
    ensure!(program::is_root(), "namespaces are made by root: run this as root, or in a container that lets it");
    program::find("ip").map_or_else(|| program::install(&["iproute2"], "the lab makes namespaces"), |_| Ok(()))?;
    program::find("nft").map_or_else(|| program::install(&["nftables"], "the lab translates addresses"), |_| Ok(()))?;
    if std::env::var_os(workspace::BUILT).is_none() {
        workspace::build()?;
    }
    let all: [(&str, Scenario); 5] =
        [("find", find), ("relay", relay), ("symmetric", symmetric), ("killed", killed), ("idle", idle)];
    for wanted in &options.scenarios {
        ensure!(
            all.iter().any(|(name, _)| name == wanted),
            "there is no scenario {wanted:?}: choose of find, relay, symmetric, killed, idle"
        );
    }
    let mut failed = Vec::new();
    for (name, scenario) in all {
        if !options.scenarios.is_empty() && !options.scenarios.iter().any(|wanted| wanted == name) {
            continue;
        }
        let begin = Instant::now();
        match scenario(options) {
            Ok(()) => println!("{name}: done in {:.1} s", begin.elapsed().as_secs_f64()),
            Err(error) => {
                println!("{name}: FAILED: {error:#}");
                failed.push(name);
            }
        }
    }
    ensure!(failed.is_empty(), "not all scenarios went well: {}", failed.join(", "));
    Ok(())
}

/// A street with its homes. It is taken away when this goes out of scope, with all that runs in it.
struct Street {
    prefix: String,
    names: Vec<String>,
    homes: u32,
    folder: tempfile::TempDir,
    options: (String, Vec<String>),
}

impl Street {
    fn new(options: &Options) -> Result<Self> {
        let prefix = format!("fl{}", std::process::id() % 10_000);
        let mut netem = Vec::new();
        for (word, value) in [("delay", &options.delay), ("loss", &options.loss)] {
            if let Some(value) = value {
                netem.extend([word.to_owned(), value.clone()]);
            }
        }
        let folder = tempfile::tempdir()?;
        let mut street = Self { prefix, names: Vec::new(), homes: 0, folder, options: (options.rate.clone(), netem) };
        let name = street.name("street");
        street.namespace(&name)?;
        inside(&name, "ip", "link add br0 type bridge")?;
        inside(&name, "ip", "link set br0 up")?;
        Ok(street)
    }

    fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.prefix)
    }

    fn namespace(&mut self, name: &str) -> Result<()> {
        program::answer(Command::new("ip").args(["netns", "add", name]))?;
        self.names.push(name.to_owned());
        inside(name, "ip", "link set lo up")
    }

    /// Leads a line from the street to a namespace, where it is called `eth0`.
    fn line(&self, to: &str, address: &str) -> Result<()> {
        let (street, at) = (self.name("street"), format!("v{}", self.homes));
        let mut add = Command::new("ip");
        add.args(["link", "add", &at, "netns", &street, "type", "veth", "peer", "name", "eth0", "netns", to]);
        program::answer(&mut add)?;
        inside(&street, "ip", &format!("link set {at} master br0 up"))?;
        inside(to, "ip", &format!("addr add {address}/24 dev eth0"))?;
        inside(to, "ip", "link set eth0 up")?;
        for (name, device) in [(&street, at.as_str()), (&to.to_owned(), "eth0")] {
            let rate = &self.options.0;
            inside(
                name,
                "tc",
                &format!("qdisc add dev {device} root handle 1: tbf rate {rate} burst 256kb latency 200ms"),
            )?;
            if !self.options.1.is_empty() {
                let netem = format!("qdisc add dev {device} parent 1:1 handle 10: netem {}", self.options.1.join(" "));
                inside(name, "tc", &netem).context(
                    "this kernel has no netem, so that there is neither delay nor loss: leave --delay and --loss away",
                )?;
            }
        }
        Ok(())
    }

    /// Builds a home, and makes a node's folder in it. `network` goes below `[network]`.
    fn home(&mut self, line: Line, network: &str) -> Result<Home> {
        self.homes += 1;
        let number = self.homes;
        let (name, public) = (self.name(&format!("h{number}")), format!("{STREET}.{}", number + 1));
        self.namespace(&name)?;
        let address = if line == Line::Open {
            self.line(&name, &public)?;
            public
        } else {
            let router = self.name(&format!("r{number}"));
            self.namespace(&router)?;
            self.line(&router, &public)?;
            let mut add = Command::new("ip");
            add.args(["link", "add", "lan", "netns", &router, "type", "veth", "peer", "name", "eth0", "netns", &name]);
            program::answer(&mut add)?;
            inside(&router, "ip", "addr add 10.77.0.1/24 dev lan")?;
            inside(&router, "ip", "link set lan up")?;
            inside(&name, "ip", "addr add 10.77.0.2/24 dev eth0")?;
            inside(&name, "ip", "link set eth0 up")?;
            inside(&name, "ip", "route add default via 10.77.0.1")?;
            inside(&router, "sysctl", "-q -w net.ipv4.ip_forward=1")?;
            // Without `random`, the kernel keeps a port as it is where it can: one port outside for each inside.
            let random = if line == Line::Symmetric { " random,fully-random" } else { "" };
            let rules = format!(
                "table ip lab {{\n chain post {{ type nat hook postrouting priority 100; oifname \"eth0\" masquerade{random}; }}\n \
                 chain forward {{ type filter hook forward priority 0; policy drop; iifname \"lan\" accept; ct state \
                 established,related accept; }}\n chain input {{ type filter hook input priority 0; policy drop; ct state \
                 established,related accept; iifname \"lan\" accept; }}\n}}\n"
            );
            let file = self.folder.path().join(format!("rules-{number}"));
            fs::write(&file, rules)?;
            inside(&router, "nft", &format!("-f {}", file.display()))?;
            "10.77.0.2".to_owned()
        };
        let folder = self.folder.path().join(format!("node-{number}"));
        let mut init = Command::new(workspace::fondaco()?);
        program::answer(init.arg("init").arg(&folder).args(["--name", "Lab"]))?;
        let file = folder.join("fondaco.toml");
        let listens = "listen = [\"/ip4/0.0.0.0/tcp/4001\", \"/ip4/0.0.0.0/udp/4001/quic-v1\"]";
        let text = fs::read_to_string(&file)?.replacen(
            "enabled = false\n",
            &format!("enabled = true\n{listens}\n{network}"),
            1,
        );
        fs::write(&file, text)?;
        Ok(Home { namespace: name, folder, address, child: None })
    }
}

/// Runs a program in a namespace.
fn inside(name: &str, program: &str, arguments: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", name, program]).args(arguments.split(' '));
    program::answer(&mut command).map(|_| ())
}

impl Drop for Street {
    fn drop(&mut self) {
        for name in self.names.iter().rev() {
            // What could not be taken away is named, so that somebody can.
            if let Err(error) = program::answer(Command::new("ip").args(["netns", "delete", name])) {
                eprintln!("the namespace {name} is still there: {error}");
            }
        }
    }
}

/// A node in a namespace. It is killed when this goes away.
struct Home {
    namespace: String,
    folder: PathBuf,
    address: String,
    child: Option<Child>,
}

impl Home {
    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(workspace::fondaco()?);
        command.arg("-C").arg(&self.folder).args(arguments);
        Ok(command)
    }

    /// Starts the node, and waits until it answers.
    fn up(&mut self) -> Result<()> {
        let log = fs::File::create(self.folder.join("node.log"))?;
        let mut command = self.command(&["--json", "up", "--listen", "127.0.0.1:0"])?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        // Before it is open nobody may ask: the data would be in use.
        let said = child.stdout.take().context("the node has no standard output")?;
        self.child = Some(child);
        let mut first = String::new();
        BufReader::new(said).read_line(&mut first)?;
        let log = || fs::read_to_string(self.folder.join("node.log")).unwrap_or_default();
        ensure!(first.contains("\"ready\""), "the node did not open:\n{}", program::tail(&log(), 20));
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    fn json(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let text = program::answer(self.command(&[&["--json"], arguments].concat())?.stdin(Stdio::null()))?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
    }

    fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if holds(self) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        let log = fs::read_to_string(self.folder.join("node.log")).unwrap_or_default();
        bail!("{what}: not within {} s\n{}", PATIENCE.as_secs(), program::tail(&log, 20))
    }

    /// Its own first address with its id, for `bootstrap`.
    fn address_with_id(&self) -> Result<String> {
        let peers = self.json(&["peers"])?;
        let id = peers.first().and_then(|p| p.get("node")).and_then(Value::as_str).context("no id")?;
        Ok(format!("/ip4/{}/tcp/4001/p2p/{id}", self.address))
    }

    /// Publishes a work of so many bytes; gives the release's link without addresses.
    fn publish(&self, bytes: usize) -> Result<String> {
        let work = self.folder.join("work");
        fs::create_dir_all(&work)?;
        fs::write(work.join("one.bin"), noise(bytes))?;
        let about = "slug = \"lab\"\nkind = \"album\"\ntitle = \"Lab\"\ncreators = [\"A\"]\nlicense = \"CC0-1.0\"\n\
                     [[offers]]\nid = \"free\"\nprice = \"0.00 EUR\"\n";
        fs::write(work.join("work.toml"), about)?;
        let said = self.json(&["publish", &work.display().to_string()])?;
        let link = said.iter().find_map(|s| s.get("link")).and_then(Value::as_str).context("no link")?;
        Ok(link.split('?').next().unwrap_or(link).to_owned())
    }

    fn link(&self) -> Result<String> {
        let works = self.json(&["works"])?;
        let link = works.first().and_then(|w| w.get("link")).and_then(Value::as_str);
        Ok(link.context("no link")?.to_owned())
    }

    /// Fetches into the node, until it has it.
    fn fetch(&self, link: &str) -> Result<()> {
        let mut last = None;
        self.until("the work is here", |home| match home.json(&["seed", link]) {
            Ok(_) => true,
            Err(error) => {
                last = Some(error);
                false
            }
        })
        .map_err(|late| last.take().map_or(late, |error| error))
    }

    fn finding(&self, what: &str) -> Result<String> {
        // It ends with 1 where something does not work; what it says is wanted all the same.
        let output = program::run(&mut self.command(&["--json", "net", "doctor", "--wait", "40s"])?)?;
        let lines = output.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let all: Vec<String> = lines
            .filter(|f| f.get("what").and_then(Value::as_str) == Some(what))
            .filter_map(|f| Some(f.get("found")?.as_str()?.to_owned()))
            .collect();
        Ok(all.join("; "))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // One that has stopped cannot be killed again, which is as well.
        let _ = self.kill();
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut random = super::random::Random::new(len as u64);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.number().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn began(home: &Home) -> Result<String> {
    Ok(format!("bootstrap = [\"{}\"]\n", home.address_with_id()?))
}

/// A work is found by the hash table alone, by a node that knows neither its publisher nor anybody who has it.
fn find(options: &Options) -> Result<()> {
    let mut street = Street::new(options)?;
    let mut hub = street.home(Line::Open, "")?;
    hub.up()?;
    let bootstrap = began(&hub)?;
    let mut others = Vec::new();
    for _ in 2..options.nodes {
        let mut home = street.home(Line::Open, &bootstrap)?;
        home.up()?;
        others.push(home);
    }
    let mut publisher = street.home(Line::Open, &bootstrap)?;
    let link = publisher.publish(3 << 20)?;
    publisher.up()?;
    let buyer = others.last().unwrap_or(&hub);
    let begin = Instant::now();
    buyer.fetch(&link)?;
    println!("  {} nodes: found and fetched 3 MiB in {:.1} s", options.nodes, begin.elapsed().as_secs_f64());
    Ok(())
}

/// Two nodes that nobody reaches: a relay leads them to each other, and a hole is punched.
fn relay(options: &Options) -> Result<()> {
    let (fetched, behind) = through(options, Line::Behind)?;
    ensure!(fetched, "what is larger than a circuit carries must come through a punched hole: {behind}");
    println!("  behind translations: {behind}");
    Ok(())
}

/// The same where no hole can be punched: what is small comes through the relay.
fn symmetric(options: &Options) -> Result<()> {
    let (_, behind) = through(options, Line::Symmetric)?;
    println!("  behind translations with a port for each peer: {behind}");
    Ok(())
}

fn through(options: &Options, line: Line) -> Result<(bool, String)> {
    let mut street = Street::new(options)?;
    let mut relay = street.home(
        Line::Open,
        "role = \"relay\"\nannounce = [\"/ip4/198.51.100.2/tcp/4001\", \"/ip4/198.51.100.2/udp/4001/quic-v1\"]\n",
    )?;
    relay.up()?;
    let bootstrap = began(&relay)?;
    // A second one tells what a translation does with ports.
    let mut other = street.home(Line::Open, &bootstrap)?;
    other.up()?;
    let bootstrap = format!("bootstrap = [\"{}\", \"{}\"]\n", relay.address_with_id()?, other.address_with_id()?);
    let mut publisher = street.home(line, &bootstrap)?;
    let small = publisher.publish(if line == Line::Symmetric { 300_000 } else { 12 << 20 })?;
    publisher.up()?;
    publisher.until("the relay keeps a place", |home| {
        home.link().is_ok_and(|link| link.contains("p2p-circuit") && link.starts_with(&small))
    })?;
    let mut buyer = street.home(line, &bootstrap)?;
    buyer.up()?;
    let begin = Instant::now();
    buyer.fetch(&publisher.link()?)?;
    let took = begin.elapsed().as_secs_f64();
    let peers = buyer.json(&["peers"])?;
    let id = publisher.json(&["peers"])?.first().and_then(|p| p.get("node")).cloned();
    let direct = peers.iter().any(|p| p.get("peer") == id.as_ref() && p.get("relayed") == Some(&Value::Bool(false)));
    let way = if direct { "directly, after a punched hole" } else { "through the relay" };
    let said = format!("{way}, in {took:.1} s; translation: {}", publisher.finding("translation")?);
    Ok((direct, said))
}

/// The publisher is killed half-way: those who have some of it bring the rest to each other.
fn killed(options: &Options) -> Result<()> {
    let mut street = Street::new(&Options {
        rate: "40mbit".into(),
        scenarios: Vec::new(),
        delay: options.delay.clone(),
        loss: options.loss.clone(),
        nodes: options.nodes,
    })?;
    let mut hub = street.home(Line::Open, "")?;
    hub.up()?;
    let bootstrap = began(&hub)?;
    let mut publisher = street.home(Line::Open, &bootstrap)?;
    publisher.publish(48 << 20)?;
    publisher.up()?;
    let link = publisher.link()?;
    let mut first = street.home(Line::Open, &bootstrap)?;
    first.up()?;
    first.fetch(&link)?;
    let mut second = street.home(Line::Open, &bootstrap)?;
    second.up()?;
    let mut fetching =
        second.command(&["seed", &link])?.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    std::thread::sleep(Duration::from_secs(4));
    ensure!(fetching.try_wait()?.is_none(), "it was too quick to be killed half-way; ask for a lower --rate");
    publisher.kill()?;
    // Whether that command sees it to its end or says that it broke off, the node can go on.
    let _ = fetching.wait()?;
    second.fetch(&link)?;
    second.json(&["check", "--deep"]).map(|_| ()).or_else(|_| check(&second))?;
    println!("  48 MiB, the publisher killed after 4 s: the rest came from whoever had it");
    Ok(())
}

fn check(home: &Home) -> Result<()> {
    program::answer(&mut home.command(&["check", "--deep"])?).map(|_| ())
}

/// A node with fifty peers and nothing to do.
fn idle(options: &Options) -> Result<()> {
    let mut street = Street::new(options)?;
    let mut hub = street.home(Line::Open, "")?;
    hub.up()?;
    let bootstrap = began(&hub)?;
    let mut others = Vec::new();
    for _ in 1..options.nodes {
        let mut home = street.home(Line::Open, &bootstrap)?;
        home.up()?;
        others.push(home);
    }
    // The first minute is for meeting each other.
    std::thread::sleep(Duration::from_mins(1));
    let pid = child_of(hub.child.as_ref().map_or(0, Child::id))?;
    let before = cpu_ticks(pid)?;
    std::thread::sleep(Duration::from_secs(30));
    let used = cpu_ticks(pid)?.saturating_sub(before);
    let peers = hub.json(&["peers"])?.len().saturating_sub(1);
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).map_or("?", str::trim);
    #[expect(clippy::cast_precision_loss, reason = "hundredths of a second in half a minute")]
    let part = used as f64 / 30.0;
    println!("  {peers} peers: {part:.2} % of a core over 30 s, {kib} resident");
    Ok(())
}

/// `ip netns exec` becomes the program that it starts, so the child's id is the program's.
fn child_of(pid: u32) -> Result<u32> {
    ensure!(Path::new(&format!("/proc/{pid}")).exists(), "the node is gone");
    Ok(pid)
}

/// CPU that a process has used, in hundredths of a second (proc(5), fields 14 and 15).
fn cpu_ticks(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
    Ok(ticks(11) + ticks(12))
}
