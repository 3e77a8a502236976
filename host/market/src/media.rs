//! Media types and roles of files, by their names.

use fondaco_schemas::{FileRole, WorkKind};

/// The media type of a path's extension (IANA's registry); `application/octet-stream` for what is not known.
pub fn of_path(path: &str) -> &'static str {
    let extension = path.rsplit('/').next().and_then(|n| n.rsplit_once('.')).map(|(_, e)| e.to_ascii_lowercase());
    match extension.as_deref().unwrap_or_default() {
        "mp3" => "audio/mpeg",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "flac" => "audio/flac",
        "m4a" => "audio/mp4",
        "wav" => "audio/wav",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        "mkv" => "video/matroska",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "svg" => "image/svg+xml",
        "epub" => "application/epub+zip",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "xz" => "application/x-xz",
        "vtt" => "text/vtt",
        "srt" => "application/x-subrip",
        "txt" | "md" => "text/plain; charset=utf-8",
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

/// May a browser show it in place? Only what cannot run anything.
pub fn is_inline(media_type: &str) -> bool {
    let (top, sub) = media_type.split_once('/').unwrap_or_default();
    matches!(top, "audio" | "video") || (top == "image" && !sub.starts_with("svg"))
}

/// What a file is for, as far as its name says.
pub fn role_of(path: &str, kind: WorkKind) -> FileRole {
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let stem = name.rsplit_once('.').map_or(name.as_str(), |(s, _)| s);
    let media = of_path(path);
    let is_picture = media.starts_with("image/");
    if is_picture && ["cover", "folder", "front", "albumart"].contains(&stem) {
        return FileRole::Cover;
    }
    if path.starts_with("preview/") || path.starts_with("previews/") || stem.ends_with("preview") {
        return FileRole::Preview;
    }
    if matches!(media, "text/vtt" | "application/x-subrip") {
        return FileRole::Subtitle;
    }
    let is_booklet = ["booklet", "notes", "readme", "credits", "copyright", "licence", "license"].contains(&stem);
    if is_booklet && kind != WorkKind::Book {
        return FileRole::Booklet;
    }
    FileRole::Content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_files_by_their_names() {
        assert_eq!(of_path("a/B.MP3"), "audio/mpeg");
        assert_eq!(of_path("noextension"), "application/octet-stream");
        assert_eq!(of_path("a.mp3/b"), "application/octet-stream");
        assert_eq!(role_of("art/Cover.JPG", WorkKind::Album), FileRole::Cover);
        assert_eq!(role_of("previews/01.mp3", WorkKind::Album), FileRole::Preview);
        assert_eq!(role_of("readme.txt", WorkKind::Game), FileRole::Booklet);
        assert_eq!(role_of("notes.epub", WorkKind::Book), FileRole::Content);
        assert!(is_inline("image/png") && is_inline("audio/mpeg"));
        assert!(!is_inline("image/svg+xml") && !is_inline("text/html; charset=utf-8") && !is_inline("application/pdf"));
    }
}
