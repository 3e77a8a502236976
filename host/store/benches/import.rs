//! What an import and a verified read of 1 GiB cost, beside the programs that set their limits.
//!
//! Each contender runs in a process of its own, in turn, five times; the table has medians. Wall time, CPU seconds (user
//! and system, children included) and the peak of resident memory are what the kernel counted for that process. Files lie
//! in `/dev/shm` where there is one, so that no disk is measured. Run it with `cargo bench -p fondaco-store`.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use fondaco_store::{ImportMode, Options, Store};

const SIZE: u64 = 1 << 30;
const RUNS: usize = 5;
const CONTENDERS: [&str; 5] = ["cp", "b3sum, one thread", "import, copy", "import, in place", "verified read"];
/// Clock ticks a second in `/proc` on every Linux there is.
const TICKS: f64 = 100.0;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
    peak_mib: f64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, contender, dir] = args.as_slice()
        && flag == "--contender"
    {
        return run(contender, Path::new(dir));
    }
    if Command::new("b3sum").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Err("this benchmark needs b3sum: `cargo install b3sum --locked`, or `apt-get install b3sum`".into());
    }
    let shm = Path::new("/dev/shm");
    let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    let dir = tempfile::tempdir_in(parent)?;
    make_source(&dir.path().join("source"))?;
    Store::open(dir.path().join("kept"), Options::default())?.import_file(
        dir.path().join("source"),
        ImportMode::Copy,
        &|_| (),
    )?;

    let mut costs = vec![Vec::new(); CONTENDERS.len()];
    for _ in 0..RUNS {
        for (contender, costs) in CONTENDERS.iter().zip(&mut costs) {
            costs.push(measure(contender, dir.path())?);
        }
    }
    let medians: Vec<Cost> = costs.iter().map(|runs| median(runs)).collect();
    println!("\n1 GiB in {}, medians of {RUNS}", dir.path().display());
    println!("{:<22}{:>10}{:>10}{:>12}", "", "wall s", "CPU s", "peak MiB");
    for (name, cost) in CONTENDERS.iter().zip(&medians) {
        println!("{name:<22}{:>10.2}{:>10.2}{:>12.1}", cost.wall, cost.cpu, cost.peak_mib);
    }
    if let [cp, b3sum, copy, in_place, read] = medians.as_slice() {
        let ratio = |what: &str, wall: f64, cpu: f64| println!("{what:<44} wall {wall:.2}  CPU {cpu:.2}");
        let (wall, cpu) = (b3sum.wall + cp.wall, b3sum.cpu + cp.cpu);
        ratio("import, copy / (b3sum + cp), mark <= 1", copy.wall / wall, copy.cpu / cpu);
        ratio("import, in place / b3sum", in_place.wall / b3sum.wall, in_place.cpu / b3sum.cpu);
        ratio("verified read / b3sum", read.wall / b3sum.wall, read.cpu / b3sum.cpu);
    }
    Ok(())
}

/// Bytes that no file system can share or compress.
fn make_source(path: &Path) -> Result<()> {
    let mut stream = blake3::Hasher::new().update(b"source").finalize_xof();
    let mut file = fs::File::create(path)?;
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..SIZE >> 20 {
        stream.fill(&mut buffer);
        file.write_all(&buffer)?;
    }
    Ok(())
}

/// Runs a contender in a child and reads what it says that it cost.
fn measure(contender: &str, dir: &Path) -> Result<Cost> {
    let output = Command::new(std::env::current_exe()?).args(["--contender", contender]).arg(dir).output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let _ = fs::remove_dir_all(dir.join("store"));
    let _ = fs::remove_file(dir.join("copy"));
    match numbers.as_slice() {
        [wall, cpu, peak_mib] if output.status.success() => Ok(Cost { wall: *wall, cpu: *cpu, peak_mib: *peak_mib }),
        _ => Err(format!("{contender}: {text}{}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

fn run(contender: &str, dir: &Path) -> Result<()> {
    let source = dir.join("source");
    let start = Instant::now();
    match contender {
        "cp" => external(Command::new("cp").arg(&source).arg(dir.join("copy")))?,
        "b3sum, one thread" => external(Command::new("b3sum").args(["--num-threads", "1", "--no-mmap"]).arg(&source))?,
        "import, copy" => import(dir, ImportMode::Copy)?,
        "import, in place" => import(dir, ImportMode::Reference)?,
        "verified read" => {
            let store = Store::open(dir.join("kept"), Options::default())?;
            for blob in store.list() {
                assert_eq!(store.verify(blob.hash)?, SIZE);
            }
        }
        other => return Err(format!("no contender {other}").into()),
    }
    let wall = start.elapsed().as_secs_f64();
    println!("{wall} {} {}", cpu_seconds()?, peak_mib()?);
    Ok(())
}

fn import(dir: &Path, mode: ImportMode) -> Result<()> {
    let store = Store::open(dir.join("store"), Options::default())?;
    let imported = store.import_file(dir.join("source"), mode, &|_| ())?;
    assert_eq!(imported.size, SIZE);
    Ok(())
}

fn external(command: &mut Command) -> Result<()> {
    let status = command.stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

/// User and system time of this process and of the children that it waited for: fields 14 to 17 of proc_pid_stat(5).
fn cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no command in /proc/self/stat")?;
    let ticks: f64 = fields.split_whitespace().skip(11).take(4).filter_map(|n| n.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS)
}

/// The most memory that was resident at once in this process (not in its children).
fn peak_mib() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

fn median(costs: &[Cost]) -> Cost {
    let of = |get: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(get).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Cost { wall: of(|c| c.wall), cpu: of(|c| c.cpu), peak_mib: of(|c| c.peak_mib) }
}
