//! One trait for each kind of plugin, with a default for every method that a simple plugin can do without. The node's
//! own words for each function are in `schemas/wit`.

use crate::bindings::{advocacy, drm, operated, payment, search};
use crate::{
    Campaign, CampaignSummary, Capabilities, Change, Count, Document, Edit, Entitlement, Error, Field, FileInfo,
    HttpMessage, License, LicenseStatus, Money, Outcome, Participation, PaymentEvent, PaymentRequest, Query, Result,
    Results, Secrecy, Slot, Step, Target, Terms, Tool, Work,
};

fn unsupported<T>(what: &str) -> Result<T> {
    Err(Error::Invalid(format!("this plugin has no {what}")))
}

/// Finds works. The node feeds it every change of the catalogue at least once, in order.
pub trait SearchProvider {
    /// The main ranking parameters and their weights, in plain words that are shown to people.
    fn parameters() -> Vec<(String, f32)>;
    /// Takes in changes. Durable on return; the same change may come again.
    fn index(changes: Vec<Change>) -> Result<()>;
    /// Answers a query.
    fn find(query: Query) -> Result<Results>;
    /// Completes what a person is typing.
    fn suggest(_prefix: String, _limit: u32) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    /// Paid placements for a query, apart from [`SearchProvider::find`].
    fn bid(_query: Query) -> Result<Vec<Slot>> {
        Ok(Vec::new())
    }
}

/// Takes money, or what stands for it. It reports what happened; the node decides what that pays for.
pub trait PaymentGateway {
    /// The assets that it takes, and what it can do.
    fn describe() -> (Vec<String>, Capabilities);
    /// Starts a payment. Called again with the same `payment` after a crash: it must not charge twice.
    fn begin(request: PaymentRequest) -> Result<(Step, Vec<PaymentEvent>)>;
    /// Goes on with a payment, with what the buyer filled in.
    fn advance(_payment: String, _input: Vec<Field>) -> Result<(Step, Vec<PaymentEvent>)> {
        unsupported("second step")
    }
    /// Reads one notification of the payment service.
    fn webhook(_message: HttpMessage) -> Result<Vec<PaymentEvent>> {
        Err(Error::NotFound)
    }
    /// What is known of a payment that stays open.
    fn fetch(_payment: String) -> Result<Vec<PaymentEvent>> {
        Ok(Vec::new())
    }
    /// Charges what was authorised.
    fn capture(_payment: String, _amount: Money, _key: String) -> Result<Vec<PaymentEvent>> {
        unsupported("capture")
    }
    /// Gives up a payment that was not charged.
    fn cancel(_payment: String, _key: String) -> Result<Vec<PaymentEvent>> {
        unsupported("cancellation")
    }
    /// Pays back.
    fn refund(_payment: String, _amount: Money, _key: String) -> Result<Vec<PaymentEvent>> {
        unsupported("refund")
    }
    /// Headers that it adds to a 402 answer.
    fn challenge(_request: PaymentRequest) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }
    /// Reads a payment credential that came with a request.
    #[expect(clippy::type_complexity, reason = "the interface's own shape")]
    fn redeem(_message: HttpMessage, _request: PaymentRequest) -> Result<(Vec<PaymentEvent>, Vec<(String, String)>)> {
        unsupported("payment in band")
    }
}

/// A script of edits that the node draws in portions and runs at native speed.
pub trait EditScript {
    /// The next edits, at most `at_most`; an empty portion ends the script.
    fn next(&mut self, at_most: usize) -> Result<Vec<Edit>>;
}

/// Protects works and opens them again.
pub trait DrmScheme {
    /// How far it keeps the key from the person, and what it does in words.
    fn describe() -> (Secrecy, Vec<String>);
    /// At publishing, once for each file: how the shared ciphertext is made.
    fn protect(work: Work, file: FileInfo, terms: Terms) -> Result<Box<dyn EditScript>>;
    /// At delivery, for one buyer; `None`: the shared bytes as they are.
    fn personalise(_entitlement: Entitlement, _file: FileInfo) -> Result<Option<Box<dyn EditScript>>> {
        Ok(None)
    }
    /// The licence that opens `file` (the protected one, as the entitled release lists it) for the entitlement's holder.
    fn issue(
        entitlement: Entitlement,
        file: FileInfo,
        device: Option<String>,
        message: Option<HttpMessage>,
    ) -> Result<License>;
    /// Where a licence stands.
    fn status(entitlement: Entitlement) -> Result<LicenseStatus>;
    /// Adds a device.
    fn register(_entitlement: Entitlement, _device: String, _name: String) -> Result<LicenseStatus> {
        unsupported("device registration")
    }
    /// Makes a loan last longer.
    fn renew(_entitlement: Entitlement, _until: Option<String>) -> Result<LicenseStatus> {
        unsupported("renewal")
    }
    /// Takes a loan back.
    fn give_back(_entitlement: Entitlement, _device: String) -> Result<LicenseStatus> {
        unsupported("return")
    }
    /// Ends a licence.
    fn revoke(entitlement: Entitlement, reason: String) -> Result<LicenseStatus>;
    /// On the holder's own node: how to open a protected file with its licence.
    fn open(license: License, file: FileInfo) -> Result<Box<dyn EditScript>>;
    /// Who leaked this copy.
    fn trace(_sample: Vec<u8>) -> Result<Vec<(String, f32)>> {
        Ok(Vec::new())
    }
}

/// Lets the public speak up.
pub trait AdvocacyModule {
    /// The campaigns that run now.
    fn running(locale: String) -> Result<Vec<CampaignSummary>>;
    /// One campaign, in the words for one audience (none: the campaign's first).
    fn get(id: String, locale: String, audience: Option<String>) -> Result<Campaign>;
    /// Who can be written to.
    fn targets(_id: String, _country: String, _postcode: String) -> Result<Vec<Target>> {
        Ok(Vec::new())
    }
    /// Takes part in a campaign.
    fn take_part(participation: Participation) -> Result<Outcome>;
    /// Confirms by a token that was mailed.
    fn confirm(_token: String) -> Result<Outcome> {
        Err(Error::NotFound)
    }
    /// Takes back what was signed.
    fn withdraw(_token: String) -> Result<()> {
        Err(Error::NotFound)
    }
    /// What the public log shows.
    fn leaves(_id: String, _since: u64) -> Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }
    /// How many took part, by class of evidence.
    fn counts(id: String) -> Result<Vec<Count>>;
    /// A press-ready piece for one audience and one placement.
    fn press(_id: String, format: String, _locale: String, _audience: String, _placement: String) -> Result<Document> {
        unsupported(&format!("format {format:?}"))
    }
    /// What is held on a person.
    fn export_person(_mail: String) -> Result<Document> {
        Err(Error::NotFound)
    }
    /// Erases what is held on a person; how many entries went.
    fn erase_person(_mail: String) -> Result<u32> {
        Ok(0)
    }
}

/// Tools for the operator, run with `fondaco plugin run <id> <tool> name=value…`. Registered beside the kind:
/// `plugin!(payment: Voucher, operator)`.
pub trait Operator {
    /// What there is.
    fn tools() -> Vec<Tool>;
    /// Runs one of them. `input` holds the parameters that were given, checked for required and unknown names.
    fn run(tool: &str, input: &[(String, String)]) -> Result<Document>;
}

mod exported {
    //! The generated traits, for whatever implements ours.
    pub(super) use super::advocacy::exports::fondaco::plugin as advocacy;
    pub(super) use super::drm::exports::fondaco::plugin as drm;
    pub(super) use super::operated::exports::fondaco::plugin as operated;
    pub(super) use super::payment::exports::fondaco::plugin as payment;
    pub(super) use super::search::exports::fondaco::plugin as search;
}

impl<T: SearchProvider> exported::search::search_provider::Guest for T {
    fn parameters() -> Vec<(String, f32)> {
        T::parameters()
    }
    fn index(changes: Vec<Change>) -> Result<()> {
        T::index(changes)
    }
    fn find(q: Query) -> Result<Results> {
        T::find(q)
    }
    fn suggest(prefix: String, limit: u32) -> Result<Vec<String>> {
        T::suggest(prefix, limit)
    }
    fn bid(q: Query) -> Result<Vec<Slot>> {
        T::bid(q)
    }
}

impl<T: PaymentGateway> exported::payment::payment_gateway::Guest for T {
    fn describe() -> (Vec<String>, Capabilities) {
        T::describe()
    }
    fn begin(r: PaymentRequest) -> Result<(Step, Vec<PaymentEvent>)> {
        T::begin(r)
    }
    fn advance(payment: String, input: Vec<Field>) -> Result<(Step, Vec<PaymentEvent>)> {
        T::advance(payment, input)
    }
    fn webhook(m: HttpMessage) -> Result<Vec<PaymentEvent>> {
        T::webhook(m)
    }
    fn fetch(payment: String) -> Result<Vec<PaymentEvent>> {
        T::fetch(payment)
    }
    fn capture(payment: String, amount: Money, key: String) -> Result<Vec<PaymentEvent>> {
        T::capture(payment, amount, key)
    }
    fn cancel(payment: String, key: String) -> Result<Vec<PaymentEvent>> {
        T::cancel(payment, key)
    }
    fn refund(payment: String, amount: Money, key: String) -> Result<Vec<PaymentEvent>> {
        T::refund(payment, amount, key)
    }
    fn challenge(r: PaymentRequest) -> Result<Vec<(String, String)>> {
        T::challenge(r)
    }
    fn redeem(m: HttpMessage, r: PaymentRequest) -> Result<(Vec<PaymentEvent>, Vec<(String, String)>)> {
        T::redeem(m, r)
    }
}

/// A script behind the handle that the node holds.
#[doc(hidden)]
pub struct ScriptHandle(std::cell::RefCell<Box<dyn EditScript>>);

impl exported::drm::drm_scheme::GuestScript for ScriptHandle {
    fn next(&self, at_most: u32) -> Result<Vec<Edit>> {
        self.0.borrow_mut().next(at_most as usize)
    }
}

fn handle(script: Box<dyn EditScript>) -> exported::drm::drm_scheme::Script {
    exported::drm::drm_scheme::Script::new(ScriptHandle(std::cell::RefCell::new(script)))
}

impl<T: DrmScheme> exported::drm::drm_scheme::Guest for T {
    type Script = ScriptHandle;
    fn describe() -> (Secrecy, Vec<String>) {
        T::describe()
    }
    fn protect(w: Work, file: FileInfo, t: Terms) -> Result<exported::drm::drm_scheme::Script> {
        T::protect(w, file, t).map(handle)
    }
    fn personalise(e: Entitlement, file: FileInfo) -> Result<Option<exported::drm::drm_scheme::Script>> {
        Ok(T::personalise(e, file)?.map(handle))
    }
    fn issue(e: Entitlement, file: FileInfo, device: Option<String>, m: Option<HttpMessage>) -> Result<License> {
        T::issue(e, file, device, m)
    }
    fn status(e: Entitlement) -> Result<LicenseStatus> {
        T::status(e)
    }
    fn register(e: Entitlement, device: String, name: String) -> Result<LicenseStatus> {
        T::register(e, device, name)
    }
    fn renew(e: Entitlement, until: Option<String>) -> Result<LicenseStatus> {
        T::renew(e, until)
    }
    fn give_back(e: Entitlement, device: String) -> Result<LicenseStatus> {
        T::give_back(e, device)
    }
    fn revoke(e: Entitlement, reason: String) -> Result<LicenseStatus> {
        T::revoke(e, reason)
    }
    fn open(l: License, file: FileInfo) -> Result<exported::drm::drm_scheme::Script> {
        T::open(l, file).map(handle)
    }
    fn trace(sample: Vec<u8>) -> Result<Vec<(String, f32)>> {
        T::trace(sample)
    }
}

impl<T: AdvocacyModule> exported::advocacy::advocacy_module::Guest for T {
    fn running(locale: String) -> Result<Vec<CampaignSummary>> {
        T::running(locale)
    }
    fn get(id: String, locale: String, audience: Option<String>) -> Result<Campaign> {
        T::get(id, locale, audience)
    }
    fn targets(id: String, country: String, postcode: String) -> Result<Vec<Target>> {
        T::targets(id, country, postcode)
    }
    fn take_part(p: Participation) -> Result<Outcome> {
        T::take_part(p)
    }
    fn confirm(token: String) -> Result<Outcome> {
        T::confirm(token)
    }
    fn withdraw(token: String) -> Result<()> {
        T::withdraw(token)
    }
    fn leaves(id: String, since: u64) -> Result<Vec<Vec<u8>>> {
        T::leaves(id, since)
    }
    fn counts(id: String) -> Result<Vec<Count>> {
        T::counts(id)
    }
    fn press(id: String, format: String, locale: String, audience: String, placement: String) -> Result<Document> {
        T::press(id, format, locale, audience, placement)
    }
    fn export_person(mail: String) -> Result<Document> {
        T::export_person(mail)
    }
    fn erase_person(mail: String) -> Result<u32> {
        T::erase_person(mail)
    }
}

impl<T: Operator> exported::operated::operator::Guest for T {
    fn tools() -> Vec<Tool> {
        T::tools()
    }
    fn run(tool: String, input: Vec<(String, String)>) -> Result<Document> {
        T::run(&tool, &input)
    }
}
