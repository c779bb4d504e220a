//! The files of the page, as they lie in this program: compressed once, with a tag of what they hold.

use std::io::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, VARY};
use http::{HeaderValue, StatusCode};
use sha1::{Digest as _, Sha1};

use crate::admin::answer::Answer;
use crate::admin::context::Asked;

/// What the page may do: its own files, questions to this listener, and nothing written into it as markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal $type:ident $file:literal;)*) => {
        /// Paths, types and what is there.
        static FILES: &[(&str, &str, &[u8])] = &[$(($path, $type, include_bytes!(concat!("page/", $file))),)*];
    };
}

files! {
    "/" HTML "index.html";
    "/dashboard/app.js" SCRIPT "app.js";
    "/dashboard/actions.js" SCRIPT "actions.js";
    "/dashboard/charts.js" SCRIPT "charts.js";
    "/dashboard/format.js" SCRIPT "format.js";
    "/dashboard/history.js" SCRIPT "history.js";
    "/dashboard/profile.js" SCRIPT "profile.js";
    "/dashboard/stream.js" SCRIPT "stream.js";
    "/dashboard/tables.js" SCRIPT "tables.js";
    "/dashboard/view.js" SCRIPT "view.js";
    "/dashboard/watch.js" SCRIPT "watch.js";
    "/dashboard/style.css" STYLE "style.css";
    "/dashboard/icon.svg" IMAGE "icon.svg";
    "/dashboard/htm.js" SCRIPT "vendor/htm.js";
    "/dashboard/preact.js" SCRIPT "vendor/preact.js";
    "/dashboard/uplot.js" SCRIPT "vendor/uplot.js";
    "/dashboard/uplot.css" STYLE "vendor/uplot.css";
}

/// One file, ready to be sent.
struct Ready {
    path: &'static str,
    content_type: &'static str,
    plain: Bytes,
    packed: Bytes,
    tag: HeaderValue,
}

static READY: LazyLock<Vec<Ready>> = LazyLock::new(|| FILES.iter().map(ready).collect());

fn ready((path, content_type, bytes): &(&'static str, &'static str, &'static [u8])) -> Ready {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let packed = packed.write_all(bytes).and_then(|()| packed.finish());
    let digest = Sha1::digest(bytes);
    let tag: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    Ready {
        path,
        content_type,
        plain: Bytes::from_static(bytes),
        packed: packed.unwrap_or_default().into(),
        tag: HeaderValue::from_str(&format!("\"{tag}\"")).expect("hexadecimal digits are visible"),
    }
}

/// One of the files; the table of endpoints leads here with their paths only.
pub(crate) fn file(path: &str, asked: &Asked) -> Answer {
    let Some(file) = READY.iter().find(|file| file.path == path) else {
        return Answer::error(StatusCode::NOT_FOUND, "there is no such file", "");
    };
    let listed = |name: &str, word: &str| {
        let list = asked.header(name).unwrap_or_default();
        list.split(',').any(|item| item.split(';').next().unwrap_or_default().trim() == word)
    };
    let tag = file.tag.to_str().unwrap_or_default();
    let is_known = listed("if-none-match", tag) || listed("if-none-match", &format!("W/{tag}"));
    let takes_packed = listed("accept-encoding", "gzip");
    let answer = match (is_known, takes_packed) {
        (true, _) => {
            Answer::of(file.content_type, Bytes::new()).with_status(StatusCode::NOT_MODIFIED)
        }
        (false, true) => Answer::of(file.content_type, file.packed.clone())
            .with(CONTENT_ENCODING, HeaderValue::from_static("gzip")),
        (false, false) => Answer::of(file.content_type, file.plain.clone()),
    };
    answer
        .with(ETAG, file.tag.clone())
        .with(VARY, HeaderValue::from_static("accept-encoding"))
        // Kept, and asked about each time: another version may run by then.
        .with(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        .with(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
}

/// Where they are.
#[cfg(test)]
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(path, ..)| *path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a browser loads for the page.
    const PAGE_BYTES_MAX: usize = 60 * 1024;

    #[test]
    fn the_whole_page_is_small() {
        let all: usize = READY.iter().map(|file| file.packed.len()).sum();
        assert!(all <= PAGE_BYTES_MAX, "{all} bytes, {PAGE_BYTES_MAX} are allowed");
        let plain: usize = READY.iter().map(|file| file.plain.len()).sum();
        // With an hour of history, which is below 130 KB, less than 300 KB.
        assert!(plain <= 160_000, "{plain} bytes");
    }

    #[test]
    fn what_a_file_names_is_there() {
        for file in READY.iter() {
            let text = String::from_utf8_lossy(&file.plain);
            for name in text.split("from './").skip(1).filter_map(|rest| rest.split('\'').next()) {
                let path = format!("/dashboard/{name}");
                assert!(READY.iter().any(|other| other.path == path), "{} wants {path}", file.path);
            }
        }
    }

    #[test]
    fn our_files_write_no_markup_and_ask_nobody_else() {
        for (path, _, bytes) in FILES {
            let text = String::from_utf8_lossy(bytes);
            let of_others = ["uplot", "preact", "htm.js", "icon.svg"];
            if of_others.iter().any(|name| path.contains(name)) {
                continue;
            }
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "document.write",
                "eval(",
                "new Function",
                "http://",
                "https://",
                "style=\"",
            ] {
                assert!(!text.contains(word), "{path} has {word}");
            }
        }
    }
}
