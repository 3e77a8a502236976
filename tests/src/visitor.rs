//! Somebody in the shop, without scripts: keeps one cookie, follows redirects, fills in forms.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::html::{self, Form};
use crate::http::{self, Answer, encode};

/// A gateway of the shop.
const VOUCHER: &str = "org.fondaco.pay-voucher";
/// More redirects in a row lead nowhere.
const MAX_REDIRECTS: usize = 5;

/// A visitor.
#[derive(Clone, Debug)]
pub struct Visitor {
    host: String,
    /// What the browser sends along.
    pub cookie: Option<String>,
}

/// A file of the visitor's library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// What it is called when it arrives.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// Where its licence is, if it is sealed.
    pub licence: Option<String>,
}

impl Visitor {
    /// Somebody new at the shop of this address.
    pub fn new(url: &str) -> Self {
        let host = url.trim_end_matches('/').trim_start_matches("http://");
        Self { host: host.to_owned(), cookie: None }
    }

    /// Goes on at another address of the same shop, with the same cookie.
    pub fn moved_to(&mut self, url: &str) {
        self.host = Self::new(url).host;
    }

    /// Fetches an address of the shop.
    pub fn get(&mut self, path: &str) -> Result<Answer> {
        self.ask("GET", path, &[])
    }

    /// Fetches a page that must be there.
    pub fn page(&mut self, path: &str) -> Result<String> {
        let answer = self.get(path)?;
        ensure!(answer.status == 200, "{path} answers {}: {}", answer.status, answer.text());
        Ok(answer.text())
    }

    /// Sends a form and follows where it leads.
    pub fn submit(&mut self, form: &Form) -> Result<Answer> {
        let pairs: Vec<String> = form.fields.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
        let mut answer = self.ask("POST", &form.action, pairs.join("&").as_bytes())?;
        for _ in 0..MAX_REDIRECTS {
            if answer.status != 303 {
                return Ok(answer);
            }
            let path = answer.header("location").context("a redirect without an address")?.to_owned();
            answer = self.get(&path)?;
        }
        Ok(answer)
    }

    fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Answer> {
        let mut headers = vec![("accept-language", "en")];
        if let Some(cookie) = &self.cookie {
            headers.push(("cookie", cookie));
        }
        if method == "POST" {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        let answer = http::send(&self.host, method, path.split('#').next().unwrap_or(path), &headers, body)?;
        if let Some(set) = answer.header("set-cookie") {
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        Ok(answer)
    }

    /// Orders a work by the first of its offers, and pays with a voucher where it costs something. Gives the last page.
    pub fn buy(&mut self, work: &str, voucher: Option<&str>) -> Result<String> {
        let order = self.order(work)?;
        match voucher {
            Some(code) => self.pay(&order, code),
            None => Ok(order),
        }
    }

    /// Orders a work by the first of its offers. Gives the order's page.
    pub fn order(&mut self, work: &str) -> Result<String> {
        let offer = self.offer(work)?;
        self.sent(&offer)
    }

    /// The form of a work's first offer.
    pub fn offer(&mut self, work: &str) -> Result<Form> {
        let page = self.page(&format!("/works/{work}"))?;
        let offer = html::forms(&page).into_iter().find(|f| f.action.contains("/buy"));
        offer.with_context(|| format!("{work} is not offered"))
    }

    /// Pays the order of a page with a voucher.
    pub fn pay(&mut self, order: &str, code: &str) -> Result<String> {
        let choice = voucher_form(order, false).context("the order cannot be paid with a voucher")?;
        let asks = self.sent(&choice)?;
        let form = voucher_form(&asks, true).context("the voucher's form does not ask for a code")?;
        let mut page = self.sent(&form.filled(&[("code", code)]))?;
        // What is left on the voucher comes back as a new code, and is to be noted down before one goes on.
        if let Some(go_on) = voucher_form(&page, false) {
            page = self.sent(&go_on)?;
        }
        Ok(page)
    }

    fn sent(&mut self, form: &Form) -> Result<String> {
        let answer = self.submit(form)?;
        ensure!(
            answer.status == 200,
            "the form {} was answered with {}: {}",
            form.action,
            answer.status,
            answer.text()
        );
        Ok(answer.text())
    }

    /// Every file in the library.
    pub fn library(&mut self) -> Result<Vec<Download>> {
        let links = html::links(&self.page("/library")?);
        let files = links.iter().filter(|(address, _)| address.starts_with("/files/"));
        Ok(files
            .map(|(address, _)| {
                let name = address.split('?').next().and_then(|a| a.rsplit('/').next()).unwrap_or_default();
                let after = links.iter().skip_while(|(a, _)| a != address).nth(1);
                let licence = after.map(|(a, _)| a.clone()).filter(|a| a.starts_with("/licences/"));
                Download { name: name.to_owned(), address: address.clone(), licence }
            })
            .collect())
    }

    /// Fetches a file of the shop.
    pub fn download(&mut self, address: &str) -> Result<Vec<u8>> {
        let answer = self.get(address)?;
        ensure!(answer.status == 200, "{address} answers {}: {}", answer.status, answer.text());
        Ok(answer.body)
    }

    /// Saves the library's key to a file.
    pub fn save_key(&mut self, file: &Path) -> Result<()> {
        let library = self.page("/library")?;
        let form = html::forms(&library).into_iter().find(|f| f.action == "/-/library-key");
        let answer = self.submit(&form.context("the library offers no key")?)?;
        ensure!(answer.status == 200, "the library's key: {} {}", answer.status, answer.text());
        std::fs::write(file, &answer.body).with_context(|| format!("{} cannot be written", file.display()))
    }
}

fn voucher_form(page: &str, with_code: bool) -> Option<Form> {
    let ours = |form: &Form| form.value("gateway") == Some(VOUCHER) && form.value("code").is_some() == with_code;
    html::forms(page).into_iter().find(ours)
}
