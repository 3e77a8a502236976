//! A DRM scheme: one ciphertext for all, a licence for each holder.
//!
//! At publishing, [`Sealed`] steers the node through one authenticated encryption of the file; every mirror carries the
//! same ciphertext and none can read it. For each buyer it writes a small signed licence that holds the file's key,
//! sealed to the buyer's own key. The buyer's node opens the file with the licence alone, offline. It never sees a
//! file's bytes but the 64 of its header, and never keeps a key.

mod clock;
mod header;
mod issue;
mod layout;
mod licence;
mod open;
mod protect;
mod script;
mod settings;
mod standing;

use fondaco_sdk::{
    DrmScheme, EditScript, Entitlement, FileInfo, HttpMessage, License, LicenseStatus, Result, Secrecy, Terms, Work,
};

/// The scheme.
pub struct Sealed;

fondaco_sdk::plugin!(drm: Sealed);

impl DrmScheme for Sealed {
    /// The words begin with the tag of their language (BCP 47) and a colon.
    fn describe() -> (Secrecy, Vec<String>) {
        let words = [
            "en: The file is encrypted. Your licence opens it on a device that has your key, without a connection.",
            "en: A loan ends on its date. Keep the licence and your key: without them nobody can open the file.",
            "en: This is a lock and no fortress: your own device holds the key while it opens the file, and whoever is \
             set on copying what it shows can do so.",
            "fr: Le fichier est chiffré. Votre licence l'ouvre sur un appareil qui a votre clé, sans connexion.",
            "fr: Un prêt prend fin à sa date. Gardez la licence et votre clé : sans elles, personne ne peut ouvrir le fichier.",
            "fr: C'est une serrure et non une forteresse : votre appareil a la clé pendant qu'il ouvre le fichier, et qui \
             tient à copier ce qu'il montre peut le faire.",
        ];
        (Secrecy::KeyInClient, words.map(String::from).to_vec())
    }

    fn protect(work: Work, file: FileInfo, _terms: Terms) -> Result<Box<dyn EditScript>> {
        Ok(Box::new(protect::protect(&work, &file)?))
    }

    fn issue(
        entitlement: Entitlement,
        file: FileInfo,
        device: Option<String>,
        _message: Option<HttpMessage>,
    ) -> Result<License> {
        issue::issue(&entitlement, &file, device.as_deref(), clock::now())
    }

    fn status(entitlement: Entitlement) -> Result<LicenseStatus> {
        standing::status(&entitlement, clock::now())
    }

    fn register(entitlement: Entitlement, device: String, name: String) -> Result<LicenseStatus> {
        standing::register(&entitlement, &device, &name, clock::now())
    }

    fn renew(entitlement: Entitlement, until: Option<String>) -> Result<LicenseStatus> {
        standing::renew(&entitlement, until.as_deref(), clock::now())
    }

    fn give_back(entitlement: Entitlement, device: String) -> Result<LicenseStatus> {
        standing::give_back(&entitlement, &device, clock::now())
    }

    fn revoke(entitlement: Entitlement, reason: String) -> Result<LicenseStatus> {
        standing::revoke(&entitlement, &reason, clock::now())
    }

    fn open(license: License, file: FileInfo) -> Result<Box<dyn EditScript>> {
        Ok(Box::new(open::open(&license, &file, clock::now())?))
    }
}
