//! Names of columns and fields as words, and the words that mean the same.

/// Names that mean the same, each as its words; the first of a line stands for the others.
const SYNONYMS: &[&[&str]] = &[
    &[
        "email",
        "e mail",
        "mail",
        "email address",
        "e mail address",
        "mail address",
    ],
    &["first name", "given name", "forename", "fname", "firstname"],
    &["last name", "family name", "surname", "lname", "lastname"],
    &["full name", "name", "display name", "fullname"],
    &[
        "phone",
        "phone number",
        "telephone",
        "telephone number",
        "tel",
        "phone no",
    ],
    &[
        "mobile",
        "mobile phone",
        "mobile number",
        "cell",
        "cell phone",
        "cellphone",
    ],
    &[
        "zip",
        "zip code",
        "zipcode",
        "postal code",
        "post code",
        "postcode",
        "postalcode",
    ],
    &[
        "company",
        "company name",
        "organisation",
        "organization",
        "org",
        "organisation name",
        "organization name",
        "employer",
    ],
    &["job title", "jobtitle", "title", "position", "role"],
    &[
        "website",
        "web site",
        "url",
        "homepage",
        "web page",
        "site url",
        "website url",
    ],
    &[
        "street",
        "address",
        "street address",
        "address line 1",
        "address 1",
        "address1",
    ],
    &["city", "town", "locality"],
    &["state", "province", "region", "county"],
    &["country", "nation", "country name"],
    &["country code", "country iso", "iso country"],
    &[
        "created at",
        "created",
        "create date",
        "createdate",
        "created date",
        "date created",
        "creation date",
        "created on",
        "signed up",
        "signed up at",
        "signup date",
        "registered at",
        "registration date",
        "joined at",
    ],
    &[
        "updated at",
        "updated",
        "update date",
        "updated date",
        "date updated",
        "modified",
        "modified at",
        "modified date",
        "last modified",
        "last modified date",
        "last updated",
        "changed at",
    ],
    &[
        "birthday",
        "birth date",
        "birthdate",
        "date of birth",
        "dob",
    ],
    &["gender", "sex"],
    &["language", "locale", "lang", "language code"],
    &["time zone", "timezone", "tz"],
    &["currency", "currency code", "iso currency"],
    &["amount", "total", "total amount", "sum"],
    &["price", "unit price", "cost"],
    &["quantity", "qty", "count"],
    &["description", "desc", "details"],
    &["note", "notes", "comment", "comments", "remark"],
    &["status", "state name", "stage"],
    &["plan", "tier", "plan name", "subscription plan"],
    &["revenue", "annual revenue", "yearly revenue", "arr"],
    &[
        "external id",
        "ext id",
        "foreign id",
        "externalid",
        "source id",
    ],
    &["user id", "userid", "uid"],
    &["customer id", "customerid", "client id"],
    &[
        "image",
        "photo",
        "picture",
        "avatar",
        "image url",
        "avatar url",
        "photo url",
    ],
    &["latitude", "lat"],
    &["longitude", "lng", "lon", "long"],
    &["tags", "labels", "tag list"],
    &[
        "last seen",
        "last seen at",
        "last active",
        "last active at",
        "last activity",
    ],
    &["owner", "assigned to", "assignee"],
];

/// Words before a name that say whose it is, which is known: the object's.
const WHOSE: &[&str] = &[
    "user", "customer", "contact", "person", "people", "account", "lead", "member", "client",
    "profile", "primary", "main", "default", "hs", "my", "the", "current", "record",
];

/// The words of a name, in lower case: `firstName`, `first_name` and `First name` have the same.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut before: Option<char> = None;
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        if !letter.is_alphanumeric() {
            words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            before = None;
            continue;
        }
        // `userId`, and the last capital of `HTTPServer`.
        let begins = before.is_some_and(|before| {
            let after_small = before.is_lowercase() || before.is_numeric();
            let next_is_small = letters.peek().is_some_and(|next| next.is_lowercase());
            letter.is_uppercase() && (after_small || (before.is_uppercase() && next_is_small))
        });
        if begins {
            words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
        }
        word.extend(letter.to_lowercase());
        before = Some(letter);
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

/// Words in one.
pub(super) fn joined(words: &[String]) -> String {
    words.concat()
}

/// What a name means: the same for all that mean the same.
pub(super) fn meaning(words: &[String]) -> Option<usize> {
    let spaced = words.join(" ");
    let whole = joined(words);
    SYNONYMS.iter().position(|line| {
        line.iter()
            .any(|known| *known == spaced || known.replace(' ', "") == whole)
    })
}

/// A name without the words that say whose it is; `None` when there are none, or nothing else.
pub(super) fn without_whose(words: &[String]) -> Option<&[String]> {
    let kept = words
        .iter()
        .position(|word| !WHOSE.contains(&word.as_str()))?;
    (kept > 0).then(|| &words[kept..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_has_one_list_of_words_however_it_is_written() {
        for name in [
            "first_name",
            "firstName",
            "First Name",
            "FIRST-NAME",
            "first.name",
        ] {
            assert_eq!(words(name), ["first", "name"], "{name}");
        }
        assert_eq!(words("HTTPServerURL2x"), ["http", "server", "url2x"]);
        assert_eq!(words("__"), [] as [String; 0]);
    }

    #[test]
    fn a_meaning_belongs_to_one_line() {
        let mut seen = std::collections::BTreeSet::new();
        for name in SYNONYMS.iter().flat_map(|line| line.iter()) {
            assert!(seen.insert(*name), "{name} stands twice");
        }
    }
}
