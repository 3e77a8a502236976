//! What the plugin itself says to people, in English and French. All else is said by the campaigns.

/// Is this language French? All others are answered in English.
pub fn is_french(locale: &str) -> bool {
    locale.split('-').next() == Some("fr")
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident: $en:literal, $fr:literal;)*) => {
        $($(#[$doc])*
        pub fn $name(locale: &str) -> &'static str {
            if is_french(locale) { $fr } else { $en }
        })*
    };
}

words! {
    /// Label of the field `name`.
    name: "Your name", "Votre nom";
    /// Why the name is asked for.
    name_purpose: "Signs the letter. It is not kept.", "Signe la lettre. Il n’est pas conservé.";
    /// Label of the field `mail`.
    mail: "Your mail address", "Votre adresse de courriel";
    /// Why a letter asks for the address.
    mail_in_letter: "Stands below your name, for an answer. It is not kept.",
        "Figure sous votre nom, pour la réponse. Elle n’est pas conservée.";
    /// Why a signature asks for the address.
    mail_to_confirm: "To confirm that you are one person. Kept as a hash only. Without it you are counted as unconfirmed.",
        "Pour confirmer que vous êtes une seule personne. Conservée sous forme de hachage seulement. Sans elle, vous comptez comme non confirmé.";
    /// Label of the field `postcode`.
    postcode: "Postcode", "Code postal";
    /// Why the postcode is asked for.
    postcode_purpose: "Finds your representatives and stands in the letter. It is not kept.",
        "Trouve vos élus et figure dans la lettre. Il n’est pas conservé.";
    /// Why consent is asked for.
    consent_purpose: "Needed only where you give a mail address.", "Nécessaire seulement si vous donnez une adresse.";
    /// A letter that is too long for a mail link.
    too_long: "This letter is too long for a mail link: the link opens an empty mail; copy the text into it.",
        "Cette lettre est trop longue pour un lien : le lien ouvre un courriel vide ; copiez-y le texte.";
    /// Subject line of a printed letter.
    re: "Subject:", "Objet :";
    /// Subject of the mail that asks to confirm.
    confirm_subject: "Please confirm your signature", "Merci de confirmer votre signature";
    /// Text of that mail.
    confirm_text: "Someone, most likely you, signed “{title}” at {brand} with this address.\n\nTo be counted, open this link within {days} days:\n{confirm}\n\nIf it was not you, do nothing: the signature is not counted, and what was kept on it is erased by itself. To erase it now, or to withdraw later:\n{withdraw}\n",
        "Quelqu’un, sans doute vous, a signé « {title} » chez {brand} avec cette adresse.\n\nPour être compté(e), ouvrez ce lien dans les {days} jours :\n{confirm}\n\nSi ce n’était pas vous, ne faites rien : la signature ne compte pas, et ce qui en est conservé s’efface de lui-même. Pour l’effacer maintenant ou la retirer plus tard :\n{withdraw}\n";
    /// Subject of the mail to someone who has confirmed before.
    again_subject: "You have signed before", "Vous avez déjà signé";
    /// Text of that mail.
    again_text: "Someone, most likely you, signed “{title}” at {brand} once more with this address. It is counted once, as before.\n\nTo withdraw your signature:\n{withdraw}\n",
        "Quelqu’un, sans doute vous, a de nouveau signé « {title} » chez {brand} avec cette adresse. Elle compte une fois, comme avant.\n\nPour retirer votre signature :\n{withdraw}\n";
    /// Before the sponsor on print.
    sponsor: "Sponsor:", "Commanditaire :";
    /// A paid piece.
    paid: "Political advertisement, paid for by the sponsor.", "Publicité à caractère politique, payée par le commanditaire.";
    /// An unpaid piece.
    unpaid: "Not paid for.", "Non rémunéré.";
    /// Before the process on print.
    process: "Concerns:", "Concerne :";
    /// Before the address of the notice on print.
    notice: "Notice:", "Avis :";
}
