//! HTTP requests to other servers, for the node's own needs (registries) and for plugins (`wasi:http/outgoing-handler`,
//! in `host/runtime`). A request goes to an address that was looked up once and vetted, over TLS unless the address says
//! `http://`, within sizes and times that the caller sets.
//!
//! It never follows a redirect, never looks a name up twice, never connects to a private or special address unless the
//! caller says so, keeps no connection and no cookie, decodes no content coding, and lets nobody set a header that frames
//! the message.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use fondaco_fetch::{Client, Options, Request, Terms, Url};
//!
//! let client = Client::new(Options::default())?;
//! let url: Url = "https://registry.example.org/timestamp.json".parse()?;
//! let answer = client.send(Request::get(url), Terms { max_body: 16 << 10, ..Terms::default() }).await?;
//! if answer.status() == 200 {
//!     let bytes = answer.into_body().bytes().await?;
//! #   drop(bytes);
//! }
//! # Ok(()) }
//! ```

mod address;
mod body;
mod client;
mod connect;
mod counted;
mod error;
mod request;
mod tls;
mod url;

pub use self::url::{MAX_URL, Url, UrlError};
pub use address::{Class, Reach, class};
pub use body::Body;
pub use client::{Client, Meter, Options, Terms};
pub use connect::{Dial, Resolve, Stream, System};
pub use error::Error;
pub use request::{MAX_HEADER_BYTES, MAX_HEADERS, Request, is_ours};
