//! How a command fails: with a sentence, and an exit code that scripts can rely on.

use std::fmt;

/// A failure, with its exit code.
#[derive(Debug)]
pub struct Fail {
    /// 1 failed, 2 usage, 3 refused, 4 not found, 5 unavailable.
    pub code: u8,
    /// What was wrong, where, and what to do.
    pub text: String,
}

/// What a command gives.
pub type Done<T = ()> = Result<T, Fail>;

impl Fail {
    /// 1: it did not work.
    pub fn failed(text: impl fmt::Display) -> Self {
        Self { code: 1, text: text.to_string() }
    }
    /// 2: it was called wrongly.
    pub fn usage(text: impl fmt::Display) -> Self {
        Self { code: 2, text: text.to_string() }
    }
    /// 3: a signature, a grant or a policy says no.
    pub fn refused(text: impl fmt::Display) -> Self {
        Self { code: 3, text: text.to_string() }
    }
    /// 4: it is not there.
    pub fn not_found(text: impl fmt::Display) -> Self {
        Self { code: 4, text: text.to_string() }
    }
    /// 5: something that is needed cannot be had now.
    pub fn unavailable(text: impl fmt::Display) -> Self {
        Self { code: 5, text: text.to_string() }
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

impl From<fondaco_market::Error> for Fail {
    fn from(error: fondaco_market::Error) -> Self {
        use fondaco_ledger::Error as L;
        use fondaco_market::Error as M;
        let text = chain(&error);
        match error {
            M::NoWork(_) | M::Ledger(L::NoWork(_) | L::NoOrder(_) | L::NoEntitlement(_)) => Self::not_found(text),
            M::Refused(_) | M::Terms(_) | M::Schemes(..) => Self::refused(text),
            M::Load(error) => error.into(),
            M::NoPlugin { .. }
            | M::Stopping
            | M::Ledger(L::InUse { .. })
            | M::Store(fondaco_store::Error::Locked { .. })
            | M::Call(fondaco_runtime::CallError::Overloaded { .. }) => Self::unavailable(text),
            _ => Self::failed(text),
        }
    }
}
impl From<fondaco_ledger::Error> for Fail {
    fn from(error: fondaco_ledger::Error) -> Self {
        fondaco_market::Error::from(error).into()
    }
}
impl From<fondaco_store::Error> for Fail {
    fn from(error: fondaco_store::Error) -> Self {
        fondaco_market::Error::from(error).into()
    }
}
impl From<fondaco_trust::KeyFileError> for Fail {
    fn from(error: fondaco_trust::KeyFileError) -> Self {
        let text = chain(&error);
        if matches!(error, fondaco_trust::KeyFileError::Exposed { .. }) {
            Self::refused(text)
        } else {
            Self::failed(text)
        }
    }
}
impl From<fondaco_trust::Refusal> for Fail {
    fn from(error: fondaco_trust::Refusal) -> Self {
        Self::refused(chain(&error))
    }
}
impl From<fondaco_trust::TrustError> for Fail {
    fn from(error: fondaco_trust::TrustError) -> Self {
        Self::refused(chain(&error))
    }
}
impl From<fondaco_runtime::LoadError> for Fail {
    fn from(error: fondaco_runtime::LoadError) -> Self {
        use fondaco_runtime::LoadError as L;
        let text = chain(&error);
        match error {
            L::NotGranted { .. } | L::UnknownImport { .. } | L::Exports { .. } | L::Compile { .. } => {
                Self::refused(text)
            }
            _ => Self::failed(text),
        }
    }
}
impl From<fondaco_runtime::CallError> for Fail {
    fn from(error: fondaco_runtime::CallError) -> Self {
        Self::failed(chain(&error))
    }
}
