//! The hostile corpus: every row is an attack by a plugin or a bundle, the threats that it stands for (the numbers are
//! those of the project's threat list), how it must end, and the words of the sentence that the operator reads. A test of
//! the row's name carries the attack out. `cargo nextest run -p fondaco-tests --test corpus` shows each.
//!
//! What was refused or stopped is told in one line that names the plugin and its version, and says what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod beside;
mod bundles;
mod calls;
mod compiling;
mod guests;
mod imports;
mod loops;
mod market;
mod memory;
mod pages;
mod spaces;
mod stand;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

/// How an attack ended.
#[derive(Debug)]
pub enum Outcome {
    /// The call was ended, and nothing else: the sentence.
    Stopped(String),
    /// The plugin was not taken in: the sentence.
    Refused(String),
    /// It ran and got nothing by it: what could be seen.
    Harmless(String),
}

/// Which way a row must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It runs, and a limit or a check ends the call.
    Stopped,
    /// It is not taken in at all.
    Refused,
    /// It runs to its end, and nothing comes of it.
    Harmless,
}

/// A row of the corpus.
pub struct Row {
    /// Its name, which is its test's.
    pub id: &'static str,
    /// Which threats it stands for.
    pub threats: &'static [u8],
    /// What is tried.
    pub attack: &'static str,
    /// How that must end.
    pub end: End,
    /// Words of the sentence that is said about it.
    pub says: &'static [&'static str],
}

/// What every sentence about an attacker begins with or holds: its id and version.
const WHO: &str = "org.example.";
const VERSION: &str = "1.0.0";

/// Are these words in the sentence? A number in front is the whole of one: "10 of 14" does not say "0 of 14".
fn says(sentence: &str, words: &str) -> bool {
    let starts = |at: usize| {
        let before = sentence.get(..at).and_then(|before| before.chars().next_back());
        !(words.starts_with(|c: char| c.is_ascii_digit()) && before.is_some_and(|c| c.is_ascii_digit()))
    };
    sentence.match_indices(words).any(|(at, _)| starts(at))
}

#[test]
fn a_number_is_no_part_of_a_greater_one() {
    assert!(says("0 of 14 got through: []", "0 of 14"));
    assert!(!says("10 of 14 got through: [\"/\"]", "0 of 14"));
    assert!(says("10 of 14, and 0 of 14", "0 of 14") && says("it trapped", "rapped"));
}

fn prove(row: &Row, attack: fn() -> Result<Outcome>) -> Result<()> {
    let (end, words) = match attack()? {
        Outcome::Stopped(words) => (End::Stopped, words),
        Outcome::Refused(words) => (End::Refused, words),
        Outcome::Harmless(words) => (End::Harmless, words),
    };
    // What is going on is told on lines of its own; the sentence is the last.
    let words = words.trim().lines().last().unwrap_or_default().to_owned();
    println!("{} (threats {:?}): {}\n  {end:?}: {words}", row.id, row.threats, row.attack);
    ensure!(end == row.end, "{} ended as {end:?}, and {:?} was expected: {words}", row.id, row.end);
    for said in row.says {
        ensure!(says(&words, said), "{}: {said:?} is not said: {words}", row.id);
    }
    if end != End::Harmless {
        ensure!(words.contains(WHO) && words.contains(VERSION), "{}: the plugin is not named: {words}", row.id);
        ensure!(!words.trim().contains('\n'), "{}: more than one line: {words}", row.id);
        ensure!(!words.trim().ends_with('.'), "{}: a full stop: {words}", row.id);
    }
    Ok(())
}

macro_rules! corpus {
    ($( $id:ident $threats:tt $attack:literal => $end:ident $says:tt in $module:ident; )*) => {
        /// Every row.
        pub const ROWS: &[Row] = &[ $(Row { id: stringify!($id), threats: &$threats, attack: $attack, end: End::$end, says: &$says }),* ];

        mod row {
            $(
                #[test]
                fn $id() -> anyhow::Result<()> {
                    let row = super::ROWS.iter().find(|row| row.id == stringify!($id)).unwrap();
                    super::prove(row, super::$module::$id)
                }
            )*
        }
    };
}

corpus! {
    // Time.
    loop_in_export [1] "an exported function never returns" => Stopped ["find", "ran for more than", "raise limits.deadline"] in loops;
    loop_in_start [1] "a module's start function never returns" => Stopped ["instantiation", "raise limits.deadline"] in loops;
    loop_in_initialize [1] "a component's constructor never returns" => Stopped ["instantiation", "raise limits.deadline"] in loops;
    loop_in_realloc [1] "making room for an argument never ends" => Stopped ["find", "raise limits.deadline"] in loops;
    loop_in_post_return [1] "cleaning up after the answer never ends" => Stopped ["find", "raise limits.deadline"] in loops;
    bulk_operations [2] "memory.fill of 32 MiB, again and again" => Stopped ["find", "raise limits.deadline"] in loops;
    park_in_a_call_of_the_node [3] "waits in a function of the node that does not return" => Stopped ["did not answer within", "raise limits.wall"] in loops;
    park_in_a_sleep [3] "sleeps for a minute" => Stopped ["did not answer within", "raise limits.wall"] in loops;
    flood_of_calls [9] "calls the node without end" => Stopped ["called the node more than 50 times", "raise limits.host-calls"] in calls;

    // Memory.
    memory_bomb [4] "asks for memory until there is none" => Harmless ["of 16 MiB"] in memory;
    memory_bombs_side_by_side [4] "a hundred of them at once" => Harmless ["100 bombs", "MiB resident"] in memory;
    memory_grow_to_the_end [4] "memory.grow to 4 GiB" => Harmless ["refused to grow"] in memory;
    memory_declared_huge [4] "a module that declares 4 GiB" => Refused ["memory", "nothing that runs is touched"] in memory;
    many_memories [5] "a component of a hundred memories" => Refused ["100 core module instances", "nothing that runs is touched"] in memory;
    many_tables [5] "a component of a hundred tables" => Refused ["100 core module instances", "nothing that runs is touched"] in memory;
    many_instances [5] "a component of two thousand instances" => Refused ["instances", "nothing that runs is touched"] in memory;
    table_grow_to_the_end [6] "table.grow by 2^32 - 1" => Harmless ["refused to grow"] in memory;
    table_declared_huge [6] "a module that declares nine million elements" => Refused ["table", "nothing that runs is touched"] in memory;
    recursion [7] "calls itself without end" => Stopped ["nested too deep", "tell its author"] in memory;
    residue_in_a_used_place [20] "reads what the plugin before left in memory" => Harmless ["0 foreign bytes"] in memory;

    // What crosses the boundary.
    giant_argument [10] "32 MiB as an argument" => Stopped ["find trapped", "tell its author"] in calls;
    giant_result [11] "32 MiB as a result" => Stopped ["find trapped", "tell its author"] in calls;
    giant_list [11] "four hundred thousand hits" => Stopped ["find trapped", "tell its author"] in calls;
    list_longer_than_memory [11] "a list that says it has 2^28 entries" => Stopped ["find trapped", "tell its author"] in calls;
    result_outside_memory [11] "a result that points behind the memory's end" => Stopped ["find trapped", "tell its author"] in calls;
    result_that_is_no_text [11, 16] "a string that is no UTF-8" => Stopped ["find trapped", "tell its author"] in calls;
    result_of_no_case [11, 16] "a variant with a case that does not exist" => Stopped ["find trapped", "tell its author"] in calls;
    handle_leak [12] "takes resources and gives none back" => Stopped ["find trapped", "tell its author"] in calls;
    log_flood [13] "prints four million bytes in a call" => Harmless ["bytes dropped"] in calls;
    log_forging [13] "prints terminal commands and line ends" => Harmless ["0 forged lines"] in calls;
    reenter_itself [14] "asks the node to ask it again" => Stopped ["plugin call 3 in a row", "tell the author"] in calls;
    reenter_through_another [14] "A asks for B, which asks for A" => Stopped ["plugin call 3 in a row", "tell the author"] in calls;
    panic_on_purpose [16] "panics" => Stopped ["trapped", "tell its author"] in calls;
    no_files [18] "opens the root folder" => Harmless ["Err("] in calls;
    no_sockets [18, 26] "connects to the machine's own port 22" => Harmless ["Err("] in calls;
    no_environment [18, 23] "reads environment and arguments" => Harmless ["0 entries"] in calls;

    // What is linked.
    import_assets_ungranted [25] "imports assets without the grant" => Refused ["assets", "fondaco plugin grant"] in imports;
    import_blobs_ungranted [25] "imports blobs without the grant" => Refused ["blobs", "fondaco plugin grant"] in imports;
    import_campaigns_ungranted [25] "imports campaigns without the grant" => Refused ["campaigns", "fondaco plugin grant"] in imports;
    import_catalogue_ungranted [25] "imports catalogue without the grant" => Refused ["catalogue", "fondaco plugin grant"] in imports;
    import_commerce_ungranted [25] "imports commerce without the grant" => Refused ["commerce", "fondaco plugin grant"] in imports;
    import_discovery_ungranted [25] "imports discovery without the grant" => Refused ["discovery", "fondaco plugin grant"] in imports;
    import_keys_ungranted [25] "imports keys without the grant" => Refused ["keys", "fondaco plugin grant"] in imports;
    import_mail_ungranted [25] "imports mail without the grant" => Refused ["mail", "fondaco plugin grant"] in imports;
    import_storage_ungranted [25] "imports storage without the grant" => Refused ["storage", "fondaco plugin grant"] in imports;
    import_http_ungranted [25, 26] "imports outbound HTTP without the grant" => Refused ["wasi:http/outgoing-handler"] in imports;
    import_of_another_version [25] "imports storage of a version that is not there" => Refused ["storage@0.9.0", "another API version"] in imports;
    import_of_no_node [25] "imports wasi:keyvalue" => Refused ["wasi:keyvalue", "does not offer"] in imports;
    import_of_a_root_function [25] "imports a function of no package" => Refused ["does not offer"] in imports;
    exports_of_another_kind [25] "a search provider that says it is a gateway" => Refused ["is no payment plugin", "its author must build it"] in imports;
    exports_nothing [25] "a component without exports" => Refused ["is no search plugin", "its author must build it"] in imports;

    // What is compiled.
    bomb_of_one_function [17] "a function of 2.4 MiB" => Refused ["its author must split it"] in compiling;
    bomb_of_locals [17] "a function of forty thousand local variables" => Refused ["its author must split it"] in compiling;
    bomb_of_functions [17] "three hundred thousand functions" => Refused ["its author must leave some out"] in compiling;
    bomb_of_nested_blocks [17] "a hundred thousand blocks within each other" => Refused ["nothing that runs is touched"] in compiling;
    bomb_of_nested_components [17] "a hundred components within each other" => Refused ["its author must flatten it"] in compiling;
    bomb_of_nested_types [8, 17] "types within types, a hundred thousand deep" => Refused ["nothing that runs is touched"] in compiling;
    compiler_killed [17] "a component on which the compiler is killed" => Refused ["the compiler ended with", "nothing that runs is touched"] in compiling;
    core_module [17] "a core module and no component" => Refused ["core module", "wasm-tools component new"] in compiling;
    cut_short [17, 43] "half a component" => Refused ["cut short or no WebAssembly"] in compiling;
    no_bytes [17] "nothing at all" => Refused ["nothing that runs is touched"] in compiling;
    no_webassembly [17] "a program for this machine" => Refused ["it is no WebAssembly: a component begins with the bytes 00 61 73 6d"] in compiling;

    // What is kept.
    key_space_escape [21] "keys that look like another plugin's" => Harmless ["0 aliases"] in spaces;
    quota_race [22] "sixteen writers at the quota's edge" => Harmless ["within the quota"] in spaces;
    space_filled [22] "writes until the node takes no more" => Harmless ["Exhausted", "the first still has 65536 bytes"] in guests;
    another_plugins_space [21] "reads what another plugin wrote" => Harmless ["None"] in guests;
    another_plugins_secret [23] "asks for a secret that was given to another" => Harmless ["Denied", "no secret", "secrets.token"] in guests;
    another_plugins_keys [23] "asks for keys under another's labels" => Harmless ["no key in common"] in guests;
    another_file_as_an_asset [54] "reads files of the deployment as if they were its own assets" => Harmless ["nothing but its own"] in guests;
    another_visitors_session [23, 64] "acts for a session that is not its visitor's" => Harmless ["this is not the visitor's session"] in guests;
    odd_arguments [8, 16] "every function of the node, with arguments that nobody means" => Harmless ["288 answers"] in guests;
    tool_that_never_ends [1] "a tool for the operator that loops" => Stopped ["run ran for more than", "raise limits.deadline"] in guests;

    // Search.
    forged_hits [56] "hits that are no works of this node" => Harmless ["only the real work"] in market;
    scores_that_are_no_numbers [56] "NaN and infinity as scores" => Harmless ["every score is a number"] in market;
    repeated_hits [56] "one work ten thousand times" => Harmless ["once"] in market;
    unlabelled_placements [56] "paid places that name nobody" => Harmless ["no paid place"] in market;
    forged_placements [56] "paid places for works that are not here" => Harmless ["no paid place"] in market;
    crowd_of_placements [56] "five hundred paid places" => Harmless ["8 paid places"] in market;
    search_that_calls_itself [14] "a provider that asks for its own search" => Harmless ["the page answers 200"] in market;

    // Sales.
    control_pays [75] "the honest way, so that the others can be told from it" => Harmless ["granted"] in market;
    pays_too_little [75] "a cent for three euros" => Harmless ["nothing granted"] in market;
    pays_another_asset [75] "points for euros" => Harmless ["nothing granted"] in market;
    pays_other_units [75] "euros for cents" => Harmless ["nothing granted"] in market;
    pays_a_negative_sum [75, 76] "less than nothing" => Harmless ["nothing granted"] in market;
    pays_no_number [75, 76] "a sum that is no number" => Harmless ["nothing granted"] in market;
    pays_too_much_to_count [75, 76] "a sum of sixty digits" => Harmless ["nothing granted"] in market;
    pays_a_part_and_goes_elsewhere [75] "a cent, before an honest gateway is asked for all of it" => Harmless ["nothing granted", "keeps its code"] in market;
    pays_by_one_reference [73] "the same event fifty times" => Harmless ["nothing granted"] in market;
    pays_for_somebody_else [75] "an event of another buyer's payment" => Harmless ["nothing granted"] in market;
    pays_through_another_gateway [72, 75] "a notification about another gateway's payment" => Harmless ["nothing granted"] in market;
    gateway_that_never_answers [3, 75] "a gateway that loops when it is asked" => Harmless ["nothing granted", "pending"] in market;
    says_that_it_is_done [75] "done, without a charge" => Harmless ["nothing granted"] in market;
    leads_to_a_script [61] "a redirect to javascript:" => Harmless ["nothing granted", "no such link"] in market;
    leads_off_in_the_clear [61] "a redirect to another site without TLS" => Harmless ["nothing granted", "no such link"] in market;

    // Sealing.
    script_outside_the_file [11] "copies bytes that the file does not have" => Refused ["the script makes more than"] in market;
    script_that_overflows [11] "copies 2^64 bytes from 2^64" => Refused ["the script makes more than"] in market;
    script_with_a_short_key [11] "seals with a key of five bytes" => Refused ["does not fit"] in market;
    script_that_bombs [43] "inserts a mebibyte without end" => Refused ["it was stopped"] in market;
    script_with_a_long_insert [10] "inserts more than is allowed at once" => Refused ["at once"] in market;
    script_that_never_ends [1, 43] "edits of nothing, without end" => Refused ["does not end"] in market;
    script_that_loops [1] "drawing the next edit never returns" => Refused ["script.next ran for more than", "raise limits.deadline"] in market;
    licence_of_another [64] "a licence under an address that was made for another right" => Harmless ["403"] in market;
    licence_as_a_page [60] "a licence that is a page with a script and a cookie" => Harmless ["attachment", "sandbox", "no cookie"] in market;

    // Campaigns.
    counts_of_purchases [56] "a billion purchases that nobody made" => Harmless ["not shown"] in market;
    leads_people_astray [61] "letters whose buttons are scripts" => Harmless ["no such link", "https://evil.example/form"] in market;
    campaign_with_scripts [59] "scripts and terminal commands in the text" => Harmless ["none runs"] in market;

    // Pages.
    headers_overridden [58, 61] "sets cookies, policies and workers" => Harmless ["0 of 14 got through"] in pages;
    script_in_a_page [59] "a page with scripts within" => Harmless ["default-src 'none'", "no unsafe-inline"] in pages;
    redirect_off_the_site [61] "sends the visitor to other sites" => Harmless ["0 of 12 got through"] in pages;
    status_that_is_no_answer [58] "answers with 103" => Harmless ["no answer of its own"] in pages;
    page_without_end [11, 43] "a page of 48 MiB" => Stopped ["handle"] in pages;
    page_too_long [11] "a page of 5 MiB" => Stopped ["handle"] in pages;
    page_that_loops [1] "a page that never comes" => Stopped ["handle ran for more than", "raise limits.deadline"] in pages;
    page_that_panics [16] "a page that panics" => Stopped ["handle trapped", "tell its author"] in pages;
    page_for_another_session [64] "a page that acts for another visitor" => Harmless ["this is not the visitor's session"] in pages;
    page_of_one_that_is_promised_to_all [64] "a page with a visitor's session that claims to say the same to everybody" => Harmless ["session \"\", token \"\", browser None"] in pages;
    page_that_reads_cookies [23] "a page that looks for cookies and credentials" => Harmless ["None None"] in pages;

    // Bundles, over the command line; a hundred thousand more are in host/trust/tests/bad_bundles.
    bundle_swapped_component [34] "the component of another plugin, under a signed manifest" => Refused ["digest", "fetch the bundle again"] in bundles;
    bundle_signed_as_another_type [36] "a signature over the right bytes as something else" => Refused ["was expected"] in bundles;
    bundle_of_a_look_alike [47] "an id with a letter of another alphabet" => Refused ["mistakes"] in bundles;
    bundle_with_a_way_out [54] "a file named ../../etc/cron.d/x" => Refused ["not allowed"] in bundles;
    bundle_that_is_a_link [54] "a symbolic link to /etc/passwd" => Refused ["pack it with cargo fondaco pack"] in bundles;

    // All of it at once.
    providers_beside_honest_ones [1, 3, 4] "every kind of attack at once" => Harmless ["all answered"] in beside;
    storefront_beside_files [1, 3] "a storefront that loops and panics" => Harmless ["all answered"] in beside;
}

#[test]
fn the_corpus_is_whole() {
    let ids: BTreeSet<&str> = ROWS.iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), ROWS.len(), "an id twice");
    assert!(ROWS.len() >= 40, "{} rows", ROWS.len());
    for row in ROWS {
        assert!(!row.threats.is_empty() && !row.attack.is_empty() && !row.says.is_empty(), "{}", row.id);
    }
    // Threats of plugins and bundles that are shown elsewhere, and where.
    let elsewhere: &[(u8, &str)] = &[
        (15, "no plugin gets events of the node"),
        (19, "a clock's steps are not cut, see host/decisions"),
        (24, "host/node: an update that asks for more is held"),
        (27, "host/runtime: outbound HTTP"),
        (28, "host/runtime: outbound HTTP"),
        (29, "host/runtime: outbound HTTP"),
        (30, "host/runtime: outbound HTTP"),
        (31, "host/runtime: outbound HTTP"),
        (32, "host/runtime: outbound HTTP"),
        (33, "host/runtime: outbound HTTP"),
        (35, "host/trust/tests/bad_bundles"),
        (37, "host/trust/tests/bad_bundles"),
        (38, "host/trust/tests/bad_bundles"),
        (39, "host/trust/tests/bad_bundles and tests/refusals.rs"),
        (40, "host/trust: registries"),
        (41, "host/trust: registries"),
        (42, "host/trust/tests/bad_bundles"),
        (44, "host/trust/tests/bad_bundles and tests/refusals.rs"),
        (45, "host/trust: registries"),
        (46, "host/trust/tests/bad_bundles"),
        (48, "host/trust/tests/bad_bundles"),
        (49, "host/node: an update waits for the operator"),
        (50, "tests/refusals.rs: what is verified is what runs"),
        (51, "tests/damage.rs: an install that is cut off"),
        (52, "host/node: reload"),
        (53, "host/runtime/tests/limits.rs: a poisoned cache"),
        (55, "host/trust/tests/bad_bundles"),
        (57, "host/trust: registries"),
        (62, "host/gateway/src/session.rs"),
        (63, "tests/corpus: script_in_a_page; host/gateway/src/answer.rs"),
    ];
    let shown: BTreeSet<u8> =
        ROWS.iter().flat_map(|row| row.threats).copied().chain(elsewhere.iter().map(|(n, _)| *n)).collect();
    let missing: Vec<u8> = (1..=64).filter(|n| !shown.contains(n)).collect();
    assert!(missing.is_empty(), "no row shows the threats {missing:?}");
}
