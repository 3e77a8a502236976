//! What operators get wrong: each mistake is a clear sentence and an exit code, and harms nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::node::{Deployment, TestNode};

#[test]
fn a_broken_file_lists_every_mistake_with_line_and_column() -> Result<()> {
    let node = TestNode::bare()?;
    let file = node.deployment.path().join("fondaco.toml");
    fs::write(
        &file,
        "[brand]\nname = \"Shop\"\ntaglien = \"x\"\n[gateway]\nlisten = \"here\"\n[storage]\nquota = 10\n[storefront]\n",
    )?;
    for command in [vec!["check"], vec!["up", "--listen", "127.0.0.1:0"], vec!["works"]] {
        let output = node.deployment.run(&command)?;
        assert_eq!(output.code, 1, "{command:?}: {output:?}");
        for place in ["fondaco.toml:3:1", "fondaco.toml:5:10", "fondaco.toml:7:9", "fondaco.toml:8:2"] {
            ensure!(output.stderr.contains(place), "{command:?} does not name {place}: {}", output.stderr);
        }
        ensure!(output.stderr.contains("did you mean \"tagline\"?"), "{}", output.stderr);
    }
    Ok(())
}

#[test]
fn a_port_that_is_taken_is_named() -> Result<()> {
    let node = TestNode::bare()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let output = node.deployment.run(&["up", "--listen", &address])?;
    assert_eq!(output.code, 5, "{output:?}");
    ensure!(output.stderr.contains(&address), "{}", output.stderr);
    assert_eq!(output.stderr.trim().lines().count(), 1, "{}", output.stderr);
    node.deployment.up()?.stop().map(|code| assert_eq!(code, 0))
}

#[test]
fn a_key_that_others_can_read_is_not_used() -> Result<()> {
    let node = TestNode::bare()?;
    for name in ["node.pem", "publisher.pem"] {
        let key = node.deployment.path().join("data/keys").join(name);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
        let output = node.deployment.run(&["check"])?;
        ensure!(output.code != 0, "{name}: {output:?}");
        let output = node.deployment.run(&["up", "--listen", "127.0.0.1:0"])?;
        assert_eq!(output.code, 3, "{name}: {output:?}");
        for words in [key.display().to_string().as_str(), "chmod 600", "644"] {
            ensure!(output.stderr.contains(words), "{name}: {}", output.stderr);
        }
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    }
    node.deployment.up()?.stop().map(|code| assert_eq!(code, 0))
}

#[test]
fn two_nodes_do_not_share_a_folder() -> Result<()> {
    let node = TestNode::bare()?;
    let running = node.deployment.up()?;
    let output = node.deployment.run(&["up", "--listen", "127.0.0.1:0"])?;
    ensure!(output.code != 0 && output.stderr.trim().lines().count() == 1, "{output:?}");
    // The first goes on, and commands still reach it.
    node.deployment.ok(&["status"])?;
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn a_folder_that_is_none_says_what_to_do() -> Result<()> {
    let node = TestNode::bare()?;
    let elsewhere = fondaco_tests::node::Deployment::at(&node.path("elsewhere"));
    let output = elsewhere.run(&["works"])?;
    assert_eq!(output.code, 4, "{output:?}");
    ensure!(output.stderr.contains("fondaco init"), "{}", output.stderr);
    Ok(())
}

#[test]
fn a_trust_file_that_is_not_counted_up_is_noticed_and_an_older_one_refused() -> Result<()> {
    let node = TestNode::bare()?;
    let bundle = node.bundle("pay-voucher")?.file.display().to_string();
    let install = || node.deployment.run(&["plugin", "install", &bundle, "--grant", "all"]);
    let file = node.deployment.path().join("trust.toml");
    let text = fs::read_to_string(&file)?;
    ensure!(text.contains("serial = 2"), "the test changes what is there: {text}");
    let with = |text: String| -> Result<_> {
        fs::write(&file, text)?;
        install()
    };
    let words = "changed and its serial was not counted up";
    let first = install()?;
    ensure!(first.code == 0 && !first.stderr.contains(words), "{first:?}");
    let noted = with(format!("{text}# a note\n"))?;
    ensure!(noted.code == 0 && noted.stderr.contains(words), "{noted:?}");
    let counted = with(text.replace("serial = 2", "serial = 3"))?;
    ensure!(counted.code == 0 && !counted.stderr.contains(words), "{counted:?}");
    let older = with(text)?;
    ensure!(older.code == 3 && older.stderr.contains("has the serial 2, and 3 was seen before"), "{older:?}");
    Ok(())
}

#[test]
fn a_quota_is_kept_and_said() -> Result<()> {
    let node = TestNode::bare()?;
    let file = node.deployment.path().join("fondaco.toml");
    let text = fs::read_to_string(&file)?;
    let with = text.replacen("# quota = \"100GiB\"", "quota = \"1MiB\"", 1);
    ensure!(with != text, "the test changes what is there: {text}");
    fs::write(&file, with)?;
    let publish = |slug: &str, bytes: usize| -> Result<_> {
        let about = format!(
            "slug = \"{slug}\"\nkind = \"other\"\ntitle = \"Work\"\nlicense = \"CC0-1.0\"\n\
             [[offers]]\nid = \"get\"\nprice = \"0 EUR\"\n"
        );
        let content = vec![7_u8; bytes];
        let folder = node.work(slug, &about, &[("a.bin", content.as_slice())])?;
        node.deployment.run(&["publish", folder.to_str().context("no UTF-8")?])
    };
    let over = publish("large", 2 << 20)?;
    assert_eq!(over.code, 1, "{over:?}");
    ensure!(over.stderr.contains("do not fit the store's quota"), "{}", over.stderr);
    ensure!(node.deployment.json(&["works"])?.is_empty(), "a work was recorded without its files");
    let fits = publish("small", 1_000)?;
    assert_eq!(fits.code, 0, "{fits:?}");
    Ok(())
}

#[test]
fn a_deployment_is_never_made_anew() -> Result<()> {
    let node = TestNode::bare()?;
    let of = |name: &str| fs::read(node.deployment.path().join(name));
    let before = [of("fondaco.toml")?, of("trust.toml")?, of("data/keys/node.pem")?];
    let again = Deployment::init(node.deployment.path(), "Another Shop", "Elsewhere");
    let error = format!("{:#}", again.err().context("it was made anew")?);
    ensure!(error.contains("is a deployment already"), "{error}");
    ensure!([of("fondaco.toml")?, of("trust.toml")?, of("data/keys/node.pem")?] == before, "something was changed");
    Ok(())
}

#[test]
fn what_is_the_operators_alone_is_closed_to_others() -> Result<()> {
    let node = TestNode::bare()?;
    let running = node.deployment.up()?;
    for (name, wanted) in [
        ("data", 0o700),
        ("data/keys", 0o700),
        ("data/keys/node.pem", 0o600),
        ("data/keys/publisher.pem", 0o600),
        ("data/ledger.db", 0o600),
        ("data/control.sock", 0o600),
    ] {
        let mode = fs::metadata(node.deployment.path().join(name))?.permissions().mode() & 0o777;
        ensure!(mode == wanted, "{name}: {mode:o} and not {wanted:o}");
    }
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn whoever_says_nothing_or_too_much_to_the_running_node_is_left() -> Result<()> {
    let node = TestNode::bare()?;
    let running = node.deployment.up()?;
    let connect = || -> Result<UnixStream> {
        let client = UnixStream::connect(node.deployment.path().join("data/control.sock"))?;
        client.set_read_timeout(Some(Duration::from_secs(30)))?;
        client.set_write_timeout(Some(Duration::from_secs(30)))?;
        Ok(client)
    };
    let (mut silent, mut long) = (connect()?, connect()?);
    let begun = Instant::now();
    // More than a request has, and no end of it. However that is taken, it is not waited for.
    let _ = long.write_all(&vec![b'x'; 300 << 10]);
    let _ = long.read_to_end(&mut Vec::new());
    ensure!(begun.elapsed() < Duration::from_secs(5), "it was read on for {:?}", begun.elapsed());
    let _ = silent.read_to_end(&mut Vec::new());
    ensure!(begun.elapsed() < Duration::from_secs(20), "it was waited for, for {:?}", begun.elapsed());
    node.deployment.ok(&["status"])?;
    assert_eq!(running.stop()?, 0);
    Ok(())
}
