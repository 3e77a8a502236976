//! What a command says: lines for people, values for machines, bars for long work. The same words go to a terminal, or
//! over the control socket to the client that asked.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

/// One thing that a command says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// A line of the result, for standard output.
    Line(String),
    /// A value of the result, where JSON was asked for.
    Value(serde_json::Value),
    /// A remark, for standard error.
    Note(String),
    /// Bytes of the result, as base64 would not be worth it for what plugins make: at most some MiB.
    Bytes(Vec<u8>),
    /// Long work begins: so many bytes in all.
    Begin(u64),
    /// So many of them more.
    Step(u64),
    /// Long work ended.
    End,
    /// The command ended, with this exit code; not zero: why.
    Exit(u8, Option<String>),
}

/// Where it goes.
pub enum Out {
    /// This process's standard streams.
    Terminal(Mutex<Option<ProgressBar>>),
    /// A client on the control socket. A client that is gone is no reason to stop half-way.
    Client(tokio::sync::mpsc::Sender<Said>),
}

impl Out {
    /// To the terminal.
    pub fn terminal() -> Self {
        Self::Terminal(Mutex::new(None))
    }

    /// Says something.
    pub fn say(&self, said: Said) {
        match self {
            Self::Client(sender) => {
                // A bar may skip a step when the client is slow; words are neither lost nor put in another order. Waiting
                // here is bounded: a client that takes nothing is given up.
                if let Err(tokio::sync::mpsc::error::TrySendError::Full(said)) = sender.try_send(said)
                    && !matches!(said, Said::Step(_))
                {
                    let _ = tokio::task::block_in_place(|| sender.blocking_send(said));
                }
            }
            Self::Terminal(bar) => {
                let mut bar = bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                show(&mut bar, said);
            }
        }
    }

    /// Has the client left?
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Client(sender) if sender.is_closed())
    }

    /// A remark.
    pub fn note(&self, text: impl Into<String>) {
        self.say(Said::Note(text.into()));
    }
    /// A result: as a value where JSON was asked for, else in words.
    pub fn result(&self, json: bool, value: impl FnOnce() -> serde_json::Value, words: impl FnOnce() -> String) {
        if json {
            self.say(Said::Value(value()));
        } else {
            self.say(Said::Line(words()));
        }
    }
}

fn show(bar: &mut Option<ProgressBar>, said: Said) {
    // A closed pipe ends the output, not the work.
    let print = |text: &str| {
        let _ = writeln!(std::io::stdout(), "{text}");
    };
    match said {
        Said::Line(text) => suspend(bar.as_ref(), || print(&text)),
        Said::Value(value) => suspend(bar.as_ref(), || print(&value.to_string())),
        Said::Note(text) => suspend(bar.as_ref(), || {
            let _ = writeln!(std::io::stderr(), "{text}");
        }),
        Said::Bytes(bytes) => {
            let _ = std::io::stdout().write_all(&bytes);
        }
        Said::Begin(total) => {
            let new = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            if !std::io::stderr().is_terminal() {
                new.set_draw_target(ProgressDrawTarget::hidden());
            }
            let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left");
            new.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            *bar = Some(new);
        }
        Said::Step(bytes) => {
            if let Some(bar) = bar {
                bar.inc(bytes);
            }
        }
        Said::End => {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
        }
        Said::Exit(..) => {}
    }
}

fn suspend(bar: Option<&ProgressBar>, f: impl FnOnce()) {
    match bar {
        Some(bar) => bar.suspend(f),
        None => f(),
    }
}
