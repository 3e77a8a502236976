//! A private network with an authority, as its operators see it: tokens made and put in place by commands, and nodes that have
//! none.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::bundles;

use super::{ABOUT, LISTENS, Node, link, node, noise, same};

/// A key file, and its public half.
fn key(node: &Node, name: &str) -> Result<(String, String)> {
    let file = node.path(name).to_str().context("path")?.to_owned();
    let said = node.deployment.json(&["key", "new", "--out", &file])?;
    Ok((file, bundles::text(said.first().context("nothing said")?, "public")?))
}

/// What a command says that is refused.
fn refused(node: &Node, arguments: &[&str]) -> Result<String> {
    let said = node.deployment.run(arguments)?;
    ensure!(said.code == 3, "{arguments:?}: {} {}", said.code, said.stderr);
    Ok(said.stderr)
}

/// The token that a key's keeper makes for a node whose refusal named it.
fn invited(keeper: &Node, key: &str, refusal: &str, name: &str) -> Result<String> {
    let id = refusal.split("fondaco net invite ").nth(1).and_then(|t| t.split(' ').next()).context("no id")?;
    let said = keeper.deployment.json(&["net", "invite", id, "--key", key, "--name", name, "--days", "30"])?;
    bundles::text(said.first().context("nothing said")?, "token")
}

#[test]
fn nodes_join_a_private_network_with_tokens_and_others_are_refused() -> Result<()> {
    let keeper = Node::alone()?;
    let (file, authority) = key(&keeper, "authority.pem")?;
    let private = format!("{LISTENS}authority = \"{authority}\"\n");
    let (publisher, buyer, third) = (node(&private)?, node(&private)?, node(&private)?);
    let bytes = noise(300_000);
    publisher.publish(ABOUT, &[("one.flac", &bytes)])?;

    // Without a token nothing starts, and it is said what to do.
    let missing = refused(&publisher, &["up"])?;
    let words =
        ["is no member of the private network", "there is no ", "membership.token", "--key", "fondaco net join"];
    for words in words {
        ensure!(missing.contains(words) && missing.trim().lines().count() == 1, "{missing}");
    }
    let doctor = publisher.deployment.run(&["net", "doctor", "--wait", "100ms"])?;
    ensure!(
        doctor.code == 1 && doctor.stdout.contains("BAD   membership: this node is no member"),
        "{}",
        doctor.stdout
    );
    ensure!(publisher.deployment.run(&["check"])?.stderr.contains("is no member of the private network"));

    publisher.deployment.ok(&["net", "join", &invited(&keeper, &file, &missing, "Head office")?])?;
    publisher.deployment.ok(&["check"])?;
    let publishing = publisher.deployment.up()?;
    let link = link(&publisher.deployment)?;

    let missing = refused(&buyer, &["get", &link])?;
    let of_buyer = invited(&keeper, &file, &missing, "Branch")?;
    // From a file, too; and only where it is for.
    let kept = third.path("token");
    fs::write(&kept, format!("{of_buyer}\n"))?;
    let kept = kept.to_str().context("path")?;
    ensure!(refused(&third, &["net", "join", kept])?.contains("the membership token is another node's"));
    buyer.deployment.ok(&["net", "join", kept])?;
    let out = buyer.path("out");
    buyer.deployment.ok(&["get", &link, "--out", out.to_str().context("path")?])?;
    same(&out, "one.flac", &bytes)?;
    let doctor = buyer.deployment.run(&["net", "doctor", "--wait", "100ms"])?;
    ensure!(doctor.stdout.contains("good  membership: a member as \"Branch\" until 20"), "{}", doctor.stdout);

    // Another's token that was put in its place by hand.
    let token = third.deployment.path().join("membership.token");
    fs::write(&token, &of_buyer)?;
    let foreign = refused(&third, &["get", &link])?;
    ensure!(foreign.contains("the membership token is another node's"), "{foreign}");
    // A member of another network, who is one there.
    let (other, others) = key(&keeper, "other.pem")?;
    let toml = third.deployment.path().join("fondaco.toml");
    fs::write(&toml, fs::read_to_string(&toml)?.replace(&authority, &others))?;
    third.deployment.ok(&["net", "join", &invited(&keeper, &other, &foreign, "Elsewhere")?])?;
    let out = third.path("out");
    let get = ["get", &link, "--out", out.to_str().context("path")?];
    let said = third.deployment.run(&get)?;
    let sentence = "it does not take this node for a member of its private network: the token is of another network";
    ensure!(said.code != 0 && said.stderr.contains(sentence), "{} {}", said.code, said.stderr);
    // And one that knows of no network at all.
    fs::write(&toml, fs::read_to_string(&toml)?.replace(&format!("authority = \"{others}\"\n"), ""))?;
    let said = third.deployment.run(&get)?;
    ensure!(said.code != 0 && !Path::new(&out).join("one.flac").exists(), "{} {}", said.code, said.stderr);
    ensure!(publishing.log()?.contains("a node that is no member of this network is refused"), "{}", publishing.log()?);
    assert_eq!(publishing.stop()?, 0);
    Ok(())
}
