use super::*;
use crate::testing::{Sold, node, refusal, today};

fn page(format: &str, locale: &str, audience: &str, placement: &str) -> String {
    let piece = press("your-customers", format, locale, audience, placement, today()).unwrap();
    assert_eq!(piece.media_type, "text/html; charset=utf-8");
    String::from_utf8(piece.body).unwrap()
}

/// Draws the code of a page and has another program's reader read it.
fn scanned(page: &str) -> String {
    let svg = page.split_once("<svg class=\"code\" viewBox=\"0 0 ").unwrap().1;
    let side: usize = svg.split_once(' ').unwrap().0.parse().unwrap();
    let path = svg.split_once("fill=\"#000000\" d=\"").unwrap().1.split_once('"').unwrap().0;
    let mut dark = vec![false; side * side];
    for module in path.split('M').skip(1) {
        let (x, y) = module.split_once('h').unwrap().0.split_once(',').unwrap();
        dark[y.parse::<usize>().unwrap() * side + x.parse::<usize>().unwrap()] = true;
    }
    let scale = 4;
    let shade = |x: usize, y: usize| if dark[y / scale * side + x / scale] { 0 } else { 255 };
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(side * scale, side * scale, shade);
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1);
    grids[0].decode().unwrap().1
}

#[test]
fn the_code_on_each_piece_leads_to_the_campaign_and_names_the_placement() {
    let _host = node();
    for format in FORMATS {
        let page = page(format.name, "en", "industry", "tribune-2026-03-01");
        assert_eq!(scanned(&page), "https://shop.example/campaigns/your-customers?placement=tribune-2026-03-01");
        assert!(page.contains("shop.example/campaigns/your-customers?placement=tribune-2026-03-01"));
        let size = format!("@page {{ size: {}mm {}mm; margin: 0 }}", format.width + 20, format.height + 20);
        assert!(page.contains(&size), "{size}");
        assert!(page.contains("class=\"marks\"") && page.contains(".trim { position: absolute; inset: 3mm;"));
    }
    assert!(page("flyer-a6", "en", "public", "x").contains("width: 21mm; height: 21mm"), "no code is under 20 mm");
}

#[test]
fn each_audience_has_its_own_words_in_each_language_and_the_sums_as_proof() {
    let host = node();
    assert!(page("poster-a4", "en", "public", "wall").contains("You are a customer to be served."));
    let french = page("poster-a4", "fr", "industry", "mur");
    assert!(french.contains("Ce ne sont pas des pirates. Ce sont vos clients.") && french.contains("lang=\"fr\""));
    assert!(french.contains("La somme figurera ici"), "sums that are withheld are not made up");
    host.commerce(Sold(12_345, 678));
    assert!(page("poster-a4", "en", "industry", "wall").contains("12,345 purchases by 678 buyers"));
}

#[test]
fn the_notice_stands_on_every_piece() {
    let _host = node();
    for format in FORMATS {
        for audience in ["public", "industry"] {
            let page = page(format.name, "en", audience, "x");
            for part in ["Sponsor: Test.", "Not paid for.", "Concerns:", "Notice: https://shop.example/about"] {
                assert!(page.contains(part), "{part} on {}", format.name);
            }
        }
    }
}

#[test]
fn what_a_brand_is_called_cannot_break_the_page() {
    let host = node();
    let brand = fondaco_sdk::settings::Brand {
        name: "<script>&\"'".into(),
        tagline: String::new(),
        locale: "en".into(),
        locales: vec!["en".into()],
        base_url: "https://shop.example/".into(),
        colors: vec![("accent".into(), "red;}</style>".into()), ("primary".into(), "#12ab34".into())],
        logo: None,
        contact: None,
    };
    host.brand(brand);
    let page = page("advert-quarter", "en", "industry", "x");
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;&amp;&quot;&#39;"));
    assert!(page.contains("background: #12ab34") && !page.contains("red;"));
    assert!(scanned(&page).starts_with("https://shop.example/campaigns/"), "one slash after the address");
}

#[test]
fn refuses_formats_audiences_placements_and_campaigns_that_it_does_not_know() {
    let _host = node();
    let press =
        |id: &str, format: &str, audience: &str, placement: &str| press(id, format, "en", audience, placement, today());
    let refused =
        |format: &str, audience: &str, placement: &str| refusal(press("your-customers", format, audience, placement));
    assert_eq!(refused("a0", "public", "x"), "unknown format \"a0\"; known are poster-a4, flyer-a6, advert-quarter");
    assert_eq!(refused("poster-a4", "pirates", "x"), "unknown audience \"pirates\"; known are public, industry");
    for bad in ["", "A", "a b", "a&b", "../x", "a\r\n", &"x".repeat(33)] {
        assert!(refused("poster-a4", "public", bad).starts_with("placement: write 1 to 32"), "{bad:?}");
    }
    assert!(matches!(press("nobody", "poster-a4", "public", "x"), Err(Error::NotFound)));
    assert!(matches!(press("../x", "poster-a4", "public", "x"), Err(Error::NotFound)));
}

#[test]
fn an_address_too_long_for_a_code_is_refused_in_words() {
    let host = node();
    host.settings(
        &serde_json::json!({ "campaign-url": format!("https://x.example/{}/{{campaign}}", "y".repeat(2_000)) }),
    );
    let refused = refusal(press("your-customers", "poster-a4", "en", "public", "x", today()));
    assert!(refused.contains("shorten campaign-url"));
}
