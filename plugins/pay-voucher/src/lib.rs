//! A payment gateway for prepaid codes.
//!
//! A code is a small signed statement, "this is worth 10.00 EUR at this shop". It is valid by its signature, so that a
//! sheet of codes can be printed and sold far from any network, and it is spent once, in one storage transaction. The
//! node calls [`Voucher`] to take payments; the operator prints and audits codes with its tools. It never holds money and
//! never decides what an order is worth.

mod base32;
mod batch;
mod clock;
mod code;
mod issue;
mod outstanding;
mod payment;
mod record;
mod redeem;
mod refund;
mod refusal;
mod settings;
mod sheet;
mod tools;

use fondaco_sdk::{Capabilities, Field, Money, PaymentEvent, PaymentGateway, PaymentRequest, Result, Step};

/// The gateway, and with [`fondaco_sdk::Operator`] its tools.
pub struct Voucher;

fondaco_sdk::plugin!(payment: Voucher, operator);

impl PaymentGateway for Voucher {
    fn describe() -> (Vec<String>, Capabilities) {
        let capabilities = Capabilities {
            authorize: false,
            partial_refund: true,
            payout: false,
            recurring: false,
            in_band: false,
            offline: true,
            anonymous: true,
        };
        (settings::assets(), capabilities)
    }

    fn begin(request: PaymentRequest) -> Result<(Step, Vec<PaymentEvent>)> {
        let payment = payment::Payment::open(&request)?;
        redeem::go_on(&payment, &request.input, clock::now())
    }

    fn advance(payment: String, input: Vec<Field>) -> Result<(Step, Vec<PaymentEvent>)> {
        redeem::go_on(&payment::Payment::load(&payment)?, &input, clock::now())
    }

    fn fetch(payment: String) -> Result<Vec<PaymentEvent>> {
        match payment::Payment::load(&payment) {
            Ok(payment) => Ok(payment.events()),
            // Asked about before it began here: nothing is known, and that is no fault.
            Err(fondaco_sdk::Error::NotFound) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn cancel(payment: String, _key: String) -> Result<Vec<PaymentEvent>> {
        refund::cancel(&payment, clock::now())
    }

    fn refund(payment: String, amount: Money, key: String) -> Result<Vec<PaymentEvent>> {
        refund::refund(&payment, &amount, &key, clock::now())
    }
}
