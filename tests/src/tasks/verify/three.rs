//! Three nodes for the browser: the demo's shop as the publisher, a node that passes its works on, and another shop that
//! follows the publisher and has no byte of its works.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::node::{Deployment, Running};
use crate::tasks::demo;
use crate::{bundles, program};

/// The three, open. The publisher's is the shop that was given.
pub struct Three {
    /// Passes on what the publisher has.
    pub seeder: Running,
    /// Follows the publisher.
    pub shop: Running,
    /// Of the shop.
    pub deployment: Deployment,
}

/// Opens a seeder and a second shop beside the publisher's, in a folder.
pub fn open(publisher: &demo::Shop, folder: &Path) -> Result<Three> {
    program::remove(folder)?;
    let channel = publisher.deployment.json(&["channel"])?;
    let channel = bundles::text(channel.first().context("the publisher has no channel")?, "link")?;

    let deployment = Deployment::init(&folder.join("seeder"), "Seeder", "")?;
    demo::listen(&deployment)?;
    let seeder = deployment.up()?;
    deployment.ok(&["follow", &channel])?;
    for work in publisher.deployment.json(&["works"])? {
        // What is sold without a lock is its publisher's alone; the rest of such a work is everybody's.
        let seeded = deployment.run(&["seed", &bundles::text(&work, "link")?])?;
        let refused = seeded.code == 3 && seeded.stderr.contains("sold without a lock");
        ensure!(seeded.code == 0 || refused, "{seeded:?}");
    }
    let known = seeder.swarm.first().context("the seeder listens nowhere")?.clone();

    let (deployment, shop) = demo::shop(&folder.join("second"))?;
    // It knows the seeder from the start, and finds everybody else through it.
    let shop = {
        shop.stop()?;
        let file = deployment.path().join("fondaco.toml");
        let text = fs::read_to_string(&file)?;
        fs::write(&file, text.replacen("[network]\n", &format!("[network]\nbootstrap = [\"{known}\"]\n"), 1))?;
        deployment.up()?
    };
    // A link may name everybody who has the channel's works; the publisher's own names the publisher.
    deployment.ok(&["follow", &format!("{channel}&p={known}")])?;
    Ok(Three { seeder, shop, deployment })
}
