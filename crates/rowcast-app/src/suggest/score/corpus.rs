//! Pairs of a column and a field, each with the verdict of a person: does the one belong into the other?

use super::*;

/// Column and its type, field and its type, and whether they belong together.
type Pair = (&'static str, &'static str, &'static str, &'static str, bool);

const PAIRS: &[Pair] = &[
    // The same, spelled otherwise.
    ("email", "text", "email", "string", true),
    ("first_name", "text", "firstName", "string", true),
    ("first_name", "text", "firstname", "string", true),
    ("LastName", "text", "last_name", "string", true),
    ("is_active", "boolean", "isActive", "bool", true),
    (
        "hs_lead_status",
        "text",
        "hs_lead_status",
        "enumeration",
        true,
    ),
    (
        "created_at",
        "timestamp with time zone",
        "createdAt",
        "datetime",
        true,
    ),
    ("zipcode", "text", "zip_code", "string", true),
    ("annualrevenue", "numeric", "annual_revenue", "number", true),
    (
        "lifecycle_stage",
        "text",
        "lifecyclestage",
        "enumeration",
        true,
    ),
    ("utm_source", "text", "utmSource", "string", true),
    ("order_count", "bigint", "OrderCount", "integer", true),
    // The same words.
    ("date_created", "date", "created_date", "date", true),
    ("name_first", "text", "first_name", "string", true),
    // Other words for the same.
    ("email_address", "text", "email", "string", true),
    ("mail", "text", "email", "string", true),
    ("surname", "text", "last_name", "string", true),
    ("given_name", "text", "first_name", "string", true),
    ("fname", "text", "firstname", "string", true),
    ("telephone", "text", "phone", "phone_number", true),
    ("phone_number", "text", "phone", "string", true),
    ("postcode", "text", "zip", "string", true),
    ("postal_code", "text", "zip_code", "string", true),
    ("organization", "text", "company", "string", true),
    ("company_name", "text", "company", "string", true),
    ("date_of_birth", "date", "birthday", "date", true),
    ("dob", "date", "birth_date", "date", true),
    (
        "signed_up_at",
        "timestamp with time zone",
        "createdate",
        "datetime",
        true,
    ),
    (
        "last_modified",
        "timestamp without time zone",
        "updated_at",
        "date_time",
        true,
    ),
    ("url", "text", "website", "string", true),
    ("job_title", "text", "title", "string", true),
    ("qty", "integer", "quantity", "integer", true),
    ("lat", "double precision", "latitude", "float", true),
    ("tz", "text", "timezone", "string", true),
    ("lang", "text", "language", "string", true),
    ("display_name", "text", "name", "string", true),
    ("avatar_url", "text", "image", "string", true),
    ("mobile_phone", "text", "cell", "string", true),
    ("province", "text", "state", "string", true),
    ("total_amount", "numeric", "amount", "number", true),
    ("userid", "bigint", "user_id", "string", true),
    (
        "last_seen_at",
        "timestamp with time zone",
        "last_active",
        "datetime",
        true,
    ),
    // Whose it is.
    ("customer_email", "text", "email", "string", true),
    ("user_phone_number", "text", "phone", "string", true),
    ("contact_first_name", "text", "firstname", "string", true),
    ("primary_email", "text", "email_address", "string", true),
    ("account_name", "text", "display_name", "string", true),
    // Mistyped, plural, shortened.
    ("emial", "text", "email", "string", true),
    ("adress", "text", "address", "string", true),
    ("subscriptions", "integer", "subscription", "integer", true),
    ("langauge", "text", "language", "string", true),
    // Parts.
    ("billing_city", "text", "city", "string", true),
    ("mailing_country", "text", "country", "string", true),
    // What a person sees and the scoring does not.
    (
        "mrr",
        "numeric",
        "monthly_recurring_revenue",
        "number",
        true,
    ),
    ("sku", "text", "product_code", "string", true),
    ("is_subscribed", "boolean", "opted_in", "boolean", true),
    // Not the same.
    ("id", "integer", "email", "string", false),
    ("customer_id", "integer", "id", "string", false),
    ("user_id", "integer", "customer_id", "string", false),
    ("city_tax", "numeric", "city", "string", false),
    ("first_name", "text", "last_name", "string", false),
    ("address1", "text", "address2", "string", false),
    (
        "created_at",
        "timestamp with time zone",
        "updated_at",
        "datetime",
        false,
    ),
    ("created_by", "text", "created_at", "datetime", false),
    ("email_verified", "boolean", "email", "string", false),
    ("email_opt_out", "boolean", "email", "string", false),
    ("phone_type", "text", "phone", "string", false),
    ("price", "numeric", "prices_updated_at", "datetime", false),
    ("total", "numeric", "title", "string", false),
    ("plan", "text", "planet", "string", false),
    ("state", "text", "status", "string", false),
    ("name", "text", "nickname", "string", false),
    ("country", "text", "county", "string", false),
    ("start_date", "date", "end_date", "date", false),
    ("active", "boolean", "activity_date", "date", false),
    ("tags", "text[]", "stage", "string", false),
    ("amount", "numeric", "account", "string", false),
    ("company_id", "integer", "company", "string", false),
    ("birthday", "jsonb", "birth_date", "date", false),
    ("credits", "boolean", "created_at", "datetime", false),
    ("language", "text", "last_login", "datetime", false),
    ("password_hash", "text", "phone", "string", false),
    ("shipping_date", "date", "shipping_rate", "number", false),
    // What the scoring takes for the same, and a person does not.
    ("position", "integer", "job_title", "string", false),
    ("shipping_city", "text", "billing_city", "string", false),
];

fn proposed(pair: &Pair) -> bool {
    let (column, column_type, field, field_type, _) = *pair;
    score((column, column_type), (field, field_type), None)
        .is_some_and(|score| score.points >= PROPOSED_FROM)
}

#[test]
fn precision_and_recall_are_what_they_are() {
    assert!(PAIRS.len() >= 60);
    let (mut right, mut wrong, mut missed) = (Vec::new(), Vec::new(), Vec::new());
    for pair in PAIRS {
        let name = format!("{} -> {}", pair.0, pair.2);
        match (proposed(pair), pair.4) {
            (true, true) => right.push(name),
            (true, false) => wrong.push(name),
            (false, true) => missed.push(name),
            (false, false) => {}
        }
    }
    // A change of the scoring changes these, and shows for which pairs.
    assert_eq!(wrong, ["country -> county", "position -> job_title"]);
    assert_eq!(
        missed,
        [
            "mrr -> monthly_recurring_revenue",
            "sku -> product_code",
            "is_subscribed -> opted_in"
        ]
    );
    let per_mille = |part: usize, whole: usize| 1000 * part / whole;
    assert_eq!(
        per_mille(right.len(), right.len() + wrong.len()),
        963,
        "precision"
    );
    assert_eq!(
        per_mille(right.len(), right.len() + missed.len()),
        946,
        "recall"
    );
}

#[test]
fn better_reasons_have_more_points() {
    let points = |column: &str, field: &str| {
        let score = score((column, "text"), (field, "string"), None);
        score.map(|score| (score.points, score.why))
    };
    let order = [
        points("email", "email"),
        points("e_mail", "email"),
        points("address_mail", "mail_address"),
        points("email_address", "email"),
        points("customer_email", "email"),
        points("billing_city", "city"),
    ];
    let order: Vec<(u8, Why)> = order.into_iter().flatten().collect();
    assert_eq!(order.len(), 6);
    assert!(order.is_sorted_by(|a, b| a.0 > b.0), "{order:?}");
}

#[test]
fn types_that_do_not_fit_cost_points() {
    let points = |column_type, field_type| {
        let score = score(("credit", column_type), ("credit", field_type), None);
        score.expect("the same name").points
    };
    assert_eq!(points("integer", "integer"), 100);
    assert_eq!(points("integer", "string"), 98);
    assert_eq!(points("numeric(10,2)", "integer"), 92);
    assert_eq!(points("text", "number"), 88);
    assert_eq!(points("boolean", "date"), 55);
    assert_eq!(
        points("geography", "string"),
        100,
        "unknown types are left alone"
    );
}

#[test]
fn a_label_is_a_second_name_and_a_sentence_is_none() {
    let of = |label| score(("first_name", "text"), ("p_17", "string"), Some(label));
    assert_eq!(of("First name").expect("the label").points, 94);
    assert_eq!(of("The first name, as the person writes it."), None);
}
