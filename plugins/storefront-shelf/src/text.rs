//! Every text that a person reads, in each language, in one table. A text that is missing in a language does not compile.
//!
//! A `{}` is filled in by [`fill`], in order. Texts that count come in two forms, chosen by [`Texts::plural`].

macro_rules! texts {
    ($($name:ident: $en:literal, $fr:literal;)*) => {
        /// The texts of one language.
        pub struct Texts {
            /// BCP 47 tag.
            pub lang: &'static str,
            $(pub $name: &'static str,)*
        }
        /// English.
        pub static ENGLISH: Texts = Texts { lang: "en", $($name: $en,)* };
        /// French.
        pub static FRENCH: Texts = Texts { lang: "fr", $($name: $fr,)* };
    };
}

texts! {
    // The frame around every page.
    own_name: "English", "Français";
    skip: "Skip to the content", "Aller au contenu";
    menu: "Main menu", "Menu principal";
    languages: "Language", "Langue";
    browse: "Browse", "Parcourir";
    campaigns: "Campaigns", "Campagnes";
    library: "Your library", "Votre bibliothèque";
    about: "About this shop", "À propos";
    footer_note: "One necessary cookie. No accounts, no tracking.", "Un seul cookie, nécessaire. Ni compte, ni pistage.";
    feed: "New works (Atom)", "Nouveautés (Atom)";

    // Home.
    search_label: "Search this shop", "Chercher dans la boutique";
    search_hint: "Title, creator, word", "Titre, auteur, mot";
    search_button: "Search", "Chercher";
    newest: "New on the shelf", "Nouveautés en rayon";
    latest_arrival: "Latest arrival", "Dernière arrivée";
    see_all: "See the whole shelf", "Voir tout le rayon";
    shelf_empty: "Nothing is on the shelf yet.", "Il n’y a encore rien en rayon.";
    shelf_empty_more: "Once a work is published on this node, it stands here.",
        "Dès qu’une œuvre est publiée sur ce nœud, elle paraît ici.";
    running_campaign: "Speak up", "Prenez la parole";
    campaign_open: "Read and take part", "Lire et participer";
    shelf_down: "The catalogue does not answer at the moment. Please try again in a minute.",
        "Le catalogue ne répond pas pour l’instant. Réessayez dans une minute.";

    // Search.
    search_title: "Browse and search", "Parcourir et chercher";
    results_for: "Results for “{}”", "Résultats pour « {} »";
    filters: "Narrow down", "Affiner";
    filter_kind: "Kind", "Genre";
    filter_tag: "Filed under", "Thème";
    filter_language: "Language", "Langue";
    any_language: "Any language", "Toutes les langues";
    filter_drm_free: "Only without copy protection", "Seulement sans verrou numérique";
    sort_label: "Sort by", "Trier par";
    sort_relevance: "Best match", "Pertinence";
    sort_newest: "Newest first", "Plus récents";
    sort_title: "Title", "Titre";
    sort_price: "Price", "Prix";
    apply: "Show", "Afficher";
    clear_filters: "Clear all", "Tout effacer";
    found_one: "{} work", "{} œuvre";
    found_many: "{} works", "{} œuvres";
    nothing_found: "Nothing here matches.", "Rien ne correspond.";
    nothing_found_more: "Try fewer words, another spelling, or fewer filters.",
        "Essayez moins de mots, une autre orthographe ou moins de filtres.";
    why_here: "Why it ranks here", "Pourquoi à cette place";
    placed: "Paid placement", "Placement payé";
    placed_by: "Shown for {}, paid for by {}. {}", "Affiché pour {}, payé par {}. {}";
    peers_missing_one: "{} peer did not answer in time.", "{} pair n’a pas répondu à temps.";
    peers_missing_many: "{} peers did not answer in time.", "{} pairs n’ont pas répondu à temps.";
    elsewhere: "From other nodes", "Chez d’autres nœuds";
    elsewhere_about: "These works are not in this shop. Other nodes have them, and their publishers have signed them.",
        "Ces œuvres ne sont pas dans cette boutique. D’autres nœuds les ont, et leurs éditeurs les ont signées.";
    elsewhere_publisher: "Publisher {}…", "Éditeur {}…";
    elsewhere_fetch: "Fetch it with Fondaco", "La récupérer avec Fondaco";
    search_down: "Search is not available at the moment. Here is the shelf, newest first.",
        "La recherche n’est pas disponible pour l’instant. Voici le rayon, du plus récent au plus ancien.";
    next_page: "Next page", "Page suivante";
    first_page: "Back to the first page", "Retour à la première page";
    pages: "Pages", "Pages";

    // Kinds of work.
    kind_album: "Album", "Album";
    kind_track: "Track", "Morceau";
    kind_video: "Video", "Vidéo";
    kind_game: "Game", "Jeu";
    kind_book: "Book", "Livre";
    kind_newspaper: "Newspaper issue", "Numéro de journal";
    kind_podcast: "Podcast episode", "Épisode de podcast";
    kind_software: "Software", "Logiciel";
    kind_other: "Work", "Œuvre";

    // A work.
    by: "by {}", "par {}";
    get_it: "Get it", "L’obtenir";
    buy: "Buy for {}", "Acheter pour {}";
    get_free: "Get it free", "Obtenir gratuitement";
    free: "Free", "Gratuit";
    from_price: "from {}", "dès {}";
    suggested: "Suggested price: {}", "Prix suggéré : {}";
    not_for_sale: "There is no offer for this work at the moment.", "Cette œuvre n’est pas proposée pour l’instant.";
    you_own_it: "This work is in your library.", "Cette œuvre est dans votre bibliothèque.";
    open_library: "Open your library", "Ouvrir votre bibliothèque";
    sold_elsewhere: "Another publisher’s work: it is sold in that publisher’s own shop, which also gives you the licence. This shop only helps to carry the files.",
        "Œuvre d’un autre éditeur : elle se vend dans sa propre boutique, qui délivre aussi la licence. Cette boutique-ci aide seulement à transporter les fichiers.";
    sold_elsewhere_go: "Go to the publisher’s shop", "Aller à la boutique de l’éditeur";
    sold_elsewhere_unknown: "Its publisher has not said where that shop is.", "Son éditeur n’a pas indiqué où elle se trouve.";
    sold_elsewhere_title: "This work is sold at its publisher’s", "Cette œuvre se vend chez son éditeur";
    terms: "What you may do with it", "Ce que vous pouvez en faire";
    terms_clear: "No copy protection: plain files that open anywhere", "Sans verrou numérique : de simples fichiers, lisibles partout";
    terms_sealed: "Sealed: opens with your licence, also offline. The key is in the licence file, so keep that file safe",
        "Scellé : s’ouvre avec votre licence, même hors ligne. La clé est dans le fichier de licence : gardez-le bien";
    terms_other_scheme: "Protected by {}: opens with your licence", "Protégé par {} : s’ouvre avec votre licence";
    terms_for_good: "Yours for good, no expiry", "À vous pour toujours, sans expiration";
    terms_days_one: "For {} day from purchase", "Pendant {} jour à compter de l’achat";
    terms_days_many: "For {} days from purchase", "Pendant {} jours à compter de l’achat";
    terms_hours_one: "For {} hour from purchase", "Pendant {} heure à compter de l’achat";
    terms_hours_many: "For {} hours from purchase", "Pendant {} heures à compter de l’achat";
    terms_devices_one: "On {} device", "Sur {} appareil";
    terms_devices_many: "On up to {} devices", "Sur {} appareils au plus";
    terms_any_device: "On any number of devices", "Sur autant d’appareils que vous voulez";
    your_country: "Your country", "Votre pays";
    choose: "Please choose", "Choisissez";
    another_country: "Another country", "Un autre pays";
    terms_territories: "Sold in: {}", "Vendu dans : {}";
    terms_from: "On sale from {}", "En vente à partir du {}";
    terms_until: "On sale until {}", "En vente jusqu’au {}";
    preview: "Listen or look first", "Écouter ou voir d’abord";
    preview_of: "Preview: {}", "Extrait : {}";
    preview_open: "Open the preview {}", "Ouvrir l’extrait {}";
    tracks: "Tracks", "Morceaux";
    track_number: "No.", "N°";
    track_title: "Title", "Titre";
    track_length: "Length", "Durée";
    contents: "What you get", "Ce que vous recevez";
    file_name: "File", "Fichier";
    file_type: "Type", "Type";
    file_size: "Size", "Taille";
    sealed_file: "sealed", "scellé";
    about_work: "About this work", "À propos de cette œuvre";
    credits: "Licence and credits", "Licence et crédits";
    license: "Licence", "Licence";
    license_none: "No public licence was stated.", "Aucune licence publique n’est indiquée.";
    published: "Published", "Publié";
    language: "Language", "Langue";
    release: "Release", "Édition";
    tags: "Filed under", "Thèmes";
    cover_of: "Cover of {}", "Couverture de {}";

    // An order.
    order_title: "Your order", "Votre commande";
    order_work: "Work", "Œuvre";
    order_total: "Total", "Total";
    order_placed: "Placed", "Passée le";
    order_number: "Order", "Commande";
    order_state: "State", "État";
    state_open: "Waiting for your choice of payment", "En attente de votre choix de paiement";
    state_pending: "Payment under way", "Paiement en cours";
    state_paid: "Paid; the work is being made ready", "Payée ; l’œuvre est en préparation";
    state_fulfilled: "Paid, and in your library", "Payée, et dans votre bibliothèque";
    state_refunded: "Refunded", "Remboursée";
    state_cancelled: "Cancelled", "Annulée";
    state_expired: "Expired: order again if you still want the work", "Expirée : commandez à nouveau si vous voulez toujours l’œuvre";
    how_to_pay: "How would you like to pay?", "Comment souhaitez-vous payer ?";
    pay_with: "Pay with {}", "Payer avec {}";
    continue_with: "Go on with {}", "Continuer avec {}";
    no_gateway: "This shop takes no payment for this work at the moment. Your order is kept.",
        "Cette boutique n’accepte pas de paiement pour cette œuvre pour l’instant. Votre commande est conservée.";
    pay_fields: "Payment with {}", "Paiement avec {}";
    pay_go: "Pay {}", "Payer {}";
    other_way: "Choose another way to pay", "Choisir un autre moyen de paiement";
    pay_leave: "You are about to leave this shop to pay at {}.", "Vous allez quitter cette boutique pour payer chez {}.";
    pay_leave_go: "Go to {}", "Aller chez {}";
    pay_bad_link: "The payment service gave an address that this shop does not follow.",
        "Le service de paiement a donné une adresse que cette boutique ne suit pas.";
    pay_present_open: "Open in your wallet", "Ouvrir dans votre portefeuille";
    pay_present_done: "I have paid", "J’ai payé";
    pay_again_shown: "What {} gave back, such as change", "Ce que {} a rendu, comme la monnaie";
    pay_expires: "Valid until {}", "Valable jusqu’au {}";
    qr_label: "The same as a QR code", "La même chose en QR code";
    wait_title: "One moment", "Un instant";
    wait_text: "The payment is on its way. This page looks again by itself.",
        "Le paiement est en route. Cette page se met à jour toute seule.";
    look_again: "Look again now", "Vérifier maintenant";
    nothing_charged: "If you were charged, the order completes by itself once the payment arrives.",
        "Si vous avez été débité, la commande se termine d’elle-même à l’arrivée du paiement.";

    // The library.
    library_title: "Your library", "Votre bibliothèque";
    library_empty: "Your library is empty.", "Votre bibliothèque est vide.";
    library_empty_more: "What you buy here stands on this shelf, and nobody needs your name for it.",
        "Ce que vous achetez ici se range dans ce rayon, sans que personne ait besoin de votre nom.";
    library_welcome: "Thank you. It is yours, and ready below.", "Merci. C’est à vous, et prêt ci-dessous.";
    library_down: "Your library cannot be read at the moment. Nothing is lost; please try again.",
        "Votre bibliothèque ne peut pas être lue pour l’instant. Rien n’est perdu ; réessayez.";
    downloads: "Files", "Fichiers";
    download: "Download", "Télécharger";
    download_licence: "Licence file", "Fichier de licence";
    how_to_open: "How to open sealed files", "Comment ouvrir les fichiers scellés";
    how_to_open_text: "Download the file and its licence into one folder and save your library key there too. Then, on your own computer, without a network:",
        "Téléchargez le fichier et sa licence dans un même dossier, et enregistrez-y aussi la clé de votre bibliothèque. Puis, sur votre ordinateur, sans réseau :";
    owned_since: "Yours since {}", "À vous depuis le {}";
    owned_until: "until {}", "jusqu’au {}";
    right_suspended: "This right is suspended", "Ce droit est suspendu";
    right_expired: "This right has expired", "Ce droit a expiré";
    right_revoked: "This right was revoked", "Ce droit a été révoqué";
    right_returned: "You gave this back", "Vous l’avez rendu";
    unknown_work: "A work that is no longer in the catalogue", "Une œuvre qui n’est plus au catalogue";
    no_files: "No files can be fetched at the moment.", "Aucun fichier ne peut être récupéré pour l’instant.";
    key_title: "Keep your library", "Garder votre bibliothèque";
    key_text: "Your library belongs to a key, not to an account. Save the key file, and you can bring your library back on any browser. Whoever has the file has the library.",
        "Votre bibliothèque tient à une clé, pas à un compte. Enregistrez le fichier de clé et vous la retrouverez dans n’importe quel navigateur. Qui a le fichier a la bibliothèque.";
    key_save: "Save the library key", "Enregistrer la clé";
    restore_title: "Bring a library back", "Retrouver une bibliothèque";
    restore_label: "Text of your library key file", "Texte de votre fichier de clé";
    restore_help: "Open the key file with a text editor, copy everything, paste it here. It replaces the library of this browser.",
        "Ouvrez le fichier de clé avec un éditeur de texte, copiez tout et collez-le ici. Il remplace la bibliothèque de ce navigateur.";
    restore_button: "Bring it back", "Retrouver";

    // Campaigns.
    campaigns_title: "Campaigns", "Campagnes";
    campaigns_none: "No campaign is running at the moment.", "Aucune campagne n’est en cours.";
    campaigns_down: "Campaigns are not available at the moment.", "Les campagnes ne sont pas disponibles pour l’instant.";
    audience: "Written for", "Écrit pour";
    audience_public: "The public", "Le public";
    audience_industry: "The industry", "La profession";
    audience_legislators: "Legislators", "Les élus";
    campaign_closes: "Closes on {}", "Se termine le {}";
    counts_title: "Who has taken part", "Qui a participé";
    counts_note: "Counts of different worth are never added up.", "Des chiffres de valeur différente ne sont jamais additionnés.";
    class_purchase: "backed by a purchase", "appuyés par un achat";
    class_confirmed: "confirmed by mail", "confirmés par courriel";
    class_unconfirmed: "unconfirmed", "non confirmés";
    counts_none: "Nobody yet. Be the first.", "Personne encore. Soyez le premier ou la première.";
    goal: "goal", "objectif";
    action_letter: "Letters", "Lettres";
    action_petition: "Signatures", "Signatures";
    action_pledge: "Pledges", "Engagements";
    action_purchase_proof: "Proofs of purchase", "Preuves d’achat";
    action_share: "Shares", "Partages";
    find_targets: "Find who represents you", "Trouver qui vous représente";
    country: "Country", "Pays";
    country_help: "Two letters, such as US or FR", "Deux lettres, comme US ou FR";
    postcode: "Postcode", "Code postal";
    postcode_help: "Used once to find the addressees, and not kept.", "Sert une fois à trouver les destinataires ; n’est pas conservé.";
    find: "Find", "Trouver";
    no_targets: "Nobody was found for this postcode. You can still write to the addressees of the campaign.",
        "Personne n’a été trouvé pour ce code postal. Vous pouvez tout de même écrire aux destinataires de la campagne.";
    targets_legend: "Write to", "Écrire à";
    targets_choose: "A postcode can lie in several districts: choose yours.",
        "Un code postal peut toucher plusieurs circonscriptions : choisissez la vôtre.";
    letter_subject: "Subject", "Objet";
    letter_body: "Your letter", "Votre lettre";
    letter_help: "Change what you like: your own words weigh more.", "Modifiez à votre gré : vos propres mots pèsent plus.";
    required: "required", "obligatoire";
    optional: "optional", "facultatif";
    form_wrong: "This did not go through: {}", "Cela n’a pas abouti : {}";
    take_part: "Take part", "Participer";
    legal_notice: "Who is behind this", "Qui est derrière";
    notice_sponsor: "Sponsor", "Commanditaire";
    notice_paid: "Paid political advertisement", "Publicité politique payée";
    notice_unpaid: "Not paid for", "Non payé";
    notice_process: "Process concerned", "Procédure concernée";
    notice_more: "Transparency notice", "Avis de transparence";
    notice_retention_one: "Personal data is kept for {} day.", "Les données personnelles sont conservées {} jour.";
    notice_retention_many: "Personal data is kept for {} days.", "Les données personnelles sont conservées {} jours.";
    share_title: "Pass it on", "Faites passer";
    share_label: "Text to share", "Texte à partager";
    copy: "Copy", "Copier";
    copied: "Copied", "Copié";
    outcome_counted: "Thank you. You were counted.", "Merci. Vous avez été compté(e).";
    outcome_mail: "Almost there: open the mail that we have just sent you and confirm.",
        "Presque fini : ouvrez le courriel que nous venons de vous envoyer et confirmez.";
    outcome_already: "You have taken part before, and are counted once.", "Vous avez déjà participé ; vous comptez une fois.";
    outcome_letter: "Your letter is ready, and only you can send it", "Votre lettre est prête, et vous seul(e) pouvez l’envoyer";
    outcome_letter_text: "Nothing was sent for you. Open it in your mail program, copy it, or print this page.",
        "Rien n’a été envoyé à votre place. Ouvrez-la dans votre messagerie, copiez-la ou imprimez cette page.";
    mail_open: "Open in your mail program", "Ouvrir dans votre messagerie";
    form_open: "Open the contact form", "Ouvrir le formulaire de contact";
    phone: "Telephone: ", "Téléphone : ";
    letter_text: "Text of the letter to {}", "Texte de la lettre à {}";
    print_hint: "To print: use your browser’s print command. Only the letters are printed.",
        "Pour imprimer : utilisez la commande d’impression du navigateur. Seules les lettres s’impriment.";
    back_to_campaign: "Back to the campaign", "Retour à la campagne";

    // About.
    about_who: "Who runs this shop", "Qui tient cette boutique";
    about_contact: "Contact: ", "Contact : ";
    about_no_contact: "The operator has not given a contact.", "L’exploitant n’a pas indiqué de contact.";
    about_rank: "How search ranks", "Comment la recherche classe";
    about_rank_text: "Results are ordered by how well they match your words; each result says why it stands where it does. Money cannot move that order: a paid placement stands apart, marked as such, with the name of who paid.",
        "Les résultats sont classés selon leur correspondance avec vos mots ; chacun dit pourquoi il est à sa place. L’argent ne peut pas changer cet ordre : un placement payé est à part, signalé, avec le nom du payeur.";
    about_privacy: "Privacy", "Vie privée";
    about_privacy_text: "This shop sets one cookie. It is necessary: it holds the key of your library and your orders. There are no accounts, no statistics about you and no third parties on these pages. Searches are not kept.",
        "Cette boutique dépose un seul cookie. Il est nécessaire : il porte la clé de votre bibliothèque et vos commandes. Ni compte, ni statistiques sur vous, ni tiers sur ces pages. Les recherches ne sont pas conservées.";
    about_works: "Where the works come from", "D’où viennent les œuvres";
    about_works_text: "Every work is signed by its publisher and checked before it is shown. This shop runs on Fondaco, free software for shops that belong to nobody but their keeper.",
        "Chaque œuvre est signée par son éditeur et vérifiée avant d’être montrée. Cette boutique fonctionne avec Fondaco, un logiciel libre pour des boutiques qui n’appartiennent qu’à qui les tient.";

    // What went wrong.
    not_found_title: "There is nothing here", "Il n’y a rien ici";
    not_found_text: "The address may be mistyped, or what stood here was taken down.",
        "L’adresse est peut-être erronée, ou ce qui s’y trouvait a été retiré.";
    bad_title: "This cannot be done", "Cela n’est pas possible";
    denied_title: "This is not yours to see", "Ceci ne vous est pas accessible";
    denied_text: "It may belong to another browser’s library. Bring that library back first.",
        "Cela appartient peut-être à la bibliothèque d’un autre navigateur. Retrouvez-la d’abord.";
    busy_title: "Too much at once", "Trop à la fois";
    busy_text: "Please wait a moment and try again.", "Attendez un instant et réessayez.";
    down_title: "Out of order for a moment", "En panne pour un instant";
    down_text: "A part of this shop does not answer. Nothing was lost; please try again in a minute.",
        "Une partie de la boutique ne répond pas. Rien n’est perdu ; réessayez dans une minute.";
    method_title: "This page takes no such request", "Cette page n’accepte pas cette requête";
    go_home: "To the front of the shop", "À l’entrée de la boutique";
}

impl Texts {
    /// The form for a count. French counts nothing as one.
    pub fn plural(&self, n: u64, one: &str, many: &str) -> String {
        let single = n == 1 || (n == 0 && self.lang == "fr");
        fill(if single { one } else { many }, &[&crate::format::count(self, n)])
    }
}

/// Puts the values in the place of each `{}`, in order.
pub fn fill(template: &str, values: &[&str]) -> String {
    let room = values.iter().map(|v| v.len()).sum::<usize>();
    let mut out = String::with_capacity(template.len() + room);
    let mut values = values.iter();
    for (i, part) in template.split("{}").enumerate() {
        if i > 0 {
            out.push_str(values.next().copied().unwrap_or_default());
        }
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_each_gap_once_and_never_looks_into_what_was_filled_in() {
        assert_eq!(fill("{} and {}.", &["{}", "b"]), "{} and b.");
        assert_eq!(fill("none", &["x"]), "none");
        assert_eq!(fill("{}-{}", &["x"]), "x-");
    }

    #[test]
    fn counts_in_both_languages() {
        let found = |t: &Texts, n| t.plural(n, t.found_one, t.found_many);
        assert_eq!(found(&ENGLISH, 0), "0 works");
        assert_eq!(found(&ENGLISH, 1), "1 work");
        assert_eq!(found(&FRENCH, 0), "0 œuvre");
        assert_eq!(found(&FRENCH, 12_345), "12\u{202f}345 œuvres");
    }
}
