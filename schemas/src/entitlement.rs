//! Entitlements: the right that a buyer holds, as a node signs it. Its state (suspended, revoked) is no part of it: that
//! is in the ledger, and changes.

use minicbor::{Decode, Encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::envelope::Payload;
use crate::{EntitlementId, HolderKey, ReleaseId, WorkId};

/// A right granted from a settled order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Encode, Decode)]
#[cbor(map)]
pub struct Entitlement {
    /// Its id, at the node that granted it.
    #[n(0)]
    #[cbor(with = "id_text")]
    pub id: EntitlementId,
    /// To which work.
    #[n(1)]
    pub work: WorkId,
    /// In which release it was bought.
    #[n(2)]
    pub release: ReleaseId,
    /// Under which of its offers.
    #[n(3)]
    pub offer: String,
    /// Whose it is.
    #[n(4)]
    pub holder: HolderKey,
    /// RFC 3339, UTC.
    #[n(5)]
    pub granted: String,
    /// RFC 3339, UTC; absent: for good.
    #[n(6)]
    pub expires: Option<String>,
}

impl Payload for Entitlement {
    const TYPE: &'static str = "application/vnd.fondaco.entitlement.v1+cbor";
}

/// An id travels as its text.
mod id_text {
    use minicbor::decode::{Decoder, Error as DecodeError};
    use minicbor::encode::{Encoder, Error as EncodeError, Write};

    use crate::EntitlementId;
    use crate::id::IdError;

    pub fn encode<C, W: Write>(id: &EntitlementId, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.str(id.as_str())?.ok()
    }
    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<EntitlementId, DecodeError> {
        d.str()?.parse().map_err(|e: IdError| DecodeError::message(e.to_string()))
    }
}
