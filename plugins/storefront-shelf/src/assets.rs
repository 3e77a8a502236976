//! The shop's own style sheet and script, compiled in, and named after what they hold, so that browsers may keep them for
//! good: a new version has a new name.

use fondaco_sdk::Response;

/// A year, in seconds.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// A file that is part of the plugin's code.
pub struct Asset {
    path: [u8; PATH_LEN],
    media_type: &'static str,
    body: &'static str,
}

const PATH_LEN: usize = "/assets/shelf-0123456789abcdef.css".len();

/// The style sheet.
pub static STYLE: Asset =
    Asset::new(*b"/assets/shelf-0000000000000000.css", "text/css; charset=utf-8", include_str!("../assets/shelf.css"));
/// The script. Every page works without it.
pub static SCRIPT: Asset = Asset::new(
    *b"/assets/shelf-0000000000000000.js ",
    "text/javascript; charset=utf-8",
    include_str!("../assets/shelf.js"),
);

impl Asset {
    /// Writes the digits of the body's hash into the path, at compile time.
    #[expect(clippy::indexing_slicing, reason = "a wrong index would not compile: only statics are made by it")]
    const fn new(mut path: [u8; PATH_LEN], media_type: &'static str, body: &'static str) -> Self {
        let start = "/assets/shelf-".len();
        let mut hash = fnv1a(body.as_bytes());
        let mut digit = 0;
        while digit < 16 {
            path[start + digit] = b"0123456789abcdef"[(hash >> 60) as usize];
            hash <<= 4;
            digit += 1;
        }
        Self { path, media_type, body }
    }

    /// Where a page finds it.
    pub fn path(&self) -> &str {
        std::str::from_utf8(&self.path).unwrap_or_default().trim_end()
    }
}

/// FNV-1a of 64 bits: names a version, guards nothing.
pub const fn fnv1a(mut bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    while let Some((byte, rest)) = bytes.split_first() {
        hash = (hash ^ *byte as u64).wrapping_mul(0x0100_0000_01b3);
        bytes = rest;
    }
    hash
}

/// The asset at a path, if there is one. An old name gives nothing, and the browser that asks for it has an old page.
pub fn serve(path: &str) -> Option<Response> {
    let asset = [&STYLE, &SCRIPT].into_iter().find(|a| a.path() == path)?;
    Some(Response::new(asset.media_type, asset.body).with("cache-control", FOREVER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_bytes() {
        for (asset, extension) in [(&STYLE, "css"), (&SCRIPT, "js")] {
            assert_eq!(asset.path(), format!("/assets/shelf-{:016x}.{extension}", fnv1a(asset.body.as_bytes())));
            let response = serve(asset.path()).unwrap();
            assert_eq!(response.header("cache-control"), Some(FOREVER));
            assert_eq!(response.text(), asset.body);
        }
        assert!(serve("/assets/shelf-0000000000000000.css").is_none());
        // FNV's own test vectors.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
