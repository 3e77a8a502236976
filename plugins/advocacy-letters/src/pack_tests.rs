use super::*;

const GOOD: &str = include_str!("../assets/targets/demo-arvenland.toml");

#[track_caller]
fn check(from: &str, to: &str, expect: &str) {
    assert!(GOOD.contains(from), "{from:?} is not there to be changed");
    let problems = Pack::parse("targets/p.toml", &GOOD.replacen(from, to, 1)).unwrap_err().to_string();
    assert!(problems.starts_with("targets/p.toml:") && problems.contains(expect), "{problems}");
}

#[test]
fn names_each_mistake_of_a_pack_with_its_place() {
    assert_eq!(Pack::parse("p", GOOD).unwrap().targets.len(), 3);
    check("schema = 1", "schema = 9", ":2:10: this plugin reads schema = 1");
    check("source = ", "sauce = ", "\"source\" is missing");
    check("country = \"XA\"", "country = \"Arvenland\"", "country: write the two letters");
    check("id = \"xa-hills\"", "id = \"xa-harbour\"", "two targets have the id xa-harbour");
    check("id = \"xa-hills\"", "id = \"XA/hills\"", "target.id: write 1 to 64");
    check("kind = \"representative\"", "kind = \"king\"", "target.kind: write \"company\" or \"representative\"");
    check("name = \"Ada Specimen\"", "name = \"Ada\\nSpecimen\"", "name must be one line");
    check("division = \"ocd-division/country:xa\"\n", "", "a representative needs a division");
    check("country:xa/district:hills", "country:xb/district:hills", "does not lie in the pack's country");
    check("district:hills", "District hills", "target.division: write an OCD division id");
    check(
        "mail = \"hills@assembly.arvenland.example\"",
        "mail = \"hills\\r\\nBcc: x@y.example\"",
        "channels.mail: write a mail address",
    );
    check("https://assembly", "javascript:assembly", "channels.webform: write an address that begins with https://");
    check("+999 555 0100", "call me", "channels.phone: write digits");
    check("phone = ", "fax = ", "channels are mail, webform, phone and postal");
    check("[target.channels]\nmail = \"speaker@assembly.arvenland.example\"\n", "", "a target needs a channel");
    let empty = Pack::parse("p", "schema = 1\nsource = \"none\"\n").unwrap_err().to_string();
    assert!(empty.contains("there is no [[target]]"));
}

#[test]
fn names_each_mistake_of_the_postcodes_with_its_line() {
    let country: Country = "XA".parse().unwrap();
    let check = |lines: &str, expect: &str| {
        let problems = parse_postcodes("p.csv", lines, Some(&country)).unwrap_err().to_string();
        assert!(problems.contains(expect), "{problems}");
    };
    check("", "p.csv:1:1: the first line must be from,to,divisions");
    let row = |row: &str| format!("{POSTCODES_HEADER}\n\n{row}\n");
    check(&row("1,2"), "p.csv:3:1: a line has three fields");
    check(&row("1,2,x,y"), "a line has three fields");
    check(&row("1,2,"), "divisions: name at least one");
    check(&row("1,2,x"), "divisions: write an OCD division id");
    check(&row("1,2,ocd-division/country:xb"), "does not lie in the pack's country");
    check(&row("!,2,ocd-division/country:xa"), "from: write 1 to 12 letters");
    check(&row("2,1,ocd-division/country:xa"), "from 2 to 1 is no range");
    check(&row("1,22,ocd-division/country:xa"), "from 1 to 22 is no range");
    let many = format!("{POSTCODES_HEADER}\n{}", "x\n".repeat(10_000));
    assert_eq!(
        parse_postcodes("p.csv", &many, None).unwrap_err().list.len(),
        50,
        "a wrong file makes no endless report"
    );
}

#[test]
fn a_longer_postcode_lies_where_its_beginning_lies() {
    let country: Country = "XA".parse().unwrap();
    let text = format!("{POSTCODES_HEADER}\r\nAB1,AB4,ocd-division/country:xa/a:1 ocd-division/country:xa/a:2\r\n");
    let ranges = parse_postcodes("p", &text, Some(&country)).unwrap();
    let found = |code: &str| ranges[0].divisions(&code.parse().unwrap()).len();
    assert_eq!(["AB1", "ab4 9zz", "AB5", "AB", "AA9"].map(found), [2, 2, 0, 0, 0]);
}
