use super::*;
use crate::testing::{node, part, refusal, today};

fn ran(tool: &str, input: &[(&str, &str)]) -> String {
    let input: Vec<_> = input.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    String::from_utf8(run(tool, &input, today()).unwrap().body).unwrap()
}

#[test]
fn check_finds_no_mistake_in_what_is_shipped() {
    let _host = node();
    assert_eq!(ran("check", &[]), "6 files read, no mistake\n");
}

#[test]
fn check_names_every_mistake_of_every_file() {
    let host = node();
    host.asset("campaigns/broken.toml", "schema = ");
    host.asset("campaigns/Bad Name.toml", "");
    host.asset("targets/latin1.toml", vec![0xe9]);
    host.asset("targets/demo-arvenland.csv", "from,to,divisions\n1,2,3\n");
    host.asset("targets/alone.csv", "from,to,divisions\n");
    let good = include_str!("../assets/campaigns/your-customers.toml");
    host.asset("campaigns/lost.toml", good.replacen("\"demo-belmarre\"", "\"nowhere\", \"twice\"", 1));
    host.asset("targets/twice.toml", include_str!("../assets/targets/demo-companies.toml"));
    let report = ran("check", &[]);
    for expect in [
        "campaigns/broken.toml:1:",
        "campaigns/Bad Name.toml:1:1: the file's name is no id",
        "targets/latin1.toml:1:1: the file is no UTF-8 text",
        "targets/demo-arvenland.csv:2:1: divisions: write an OCD division id",
        "targets/alone.csv:1:1: there is no alone.toml beside it",
        "campaigns/lost.toml:1:1: packs: there is no targets/nowhere.toml",
        "packs: demo-companies and twice both have a target meridian-records, and only the first is found",
    ] {
        assert!(report.contains(expect), "{expect}\nin\n{report}");
    }
}

#[test]
fn counts_are_csv_that_no_spreadsheet_takes_for_a_formula() {
    let _host = node();
    for (session, placement) in [("a", "-2-3"), ("b", "wall"), ("c", "wall")] {
        let mut p = part("share", session, &[], &[]);
        p.placement = Some(placement.to_owned());
        crate::taking::take_part(&p, today()).unwrap();
    }
    let expect = "campaign,action,class,placement,n\r\nyour-customers,share,unconfirmed,'-2-3,1\r\nyour-customers,share,unconfirmed,wall,2\r\n";
    assert_eq!(ran("counts", &[]), expect);
    assert_eq!(["=1+1", "+1", "@x", "\tx", "a,\"b\""].map(cell), ["'=1+1", "'+1", "'@x", "'\tx", "\"a,\"\"b\"\"\""]);
}

#[test]
fn tools_do_what_they_list() {
    let _host = node();
    let press = [
        ("campaign", "your-customers"),
        ("format", "flyer-a6"),
        ("audience", "public"),
        ("placement", "x"),
        ("locale", "fr"),
    ];
    assert!(ran("press", &press).contains("<html lang=\"fr\">"));
    assert!(ran("export-person", &[("mail", "a@b.example")]).contains("\"entries\": []"));
    assert_eq!(ran("erase-person", &[("mail", "a@b.example")]), "0 erased\n");
    for tool in list() {
        let needed = tool.parameters.iter().find(|p| p.required);
        let answer = run(&tool.name, &[], today());
        match needed {
            Some(p) => assert_eq!(refusal(answer), format!("parameter {:?} is missing", p.name)),
            None => drop(answer.unwrap()),
        }
    }
    assert!(matches!(run("dance", &[], today()), Err(Error::NotFound)));
}
