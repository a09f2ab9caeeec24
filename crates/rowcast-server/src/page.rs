//! The reference of the API as a page of the server: made of the table of routes, without a script
//! and without anything from elsewhere.

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};

use crate::answer::Answered;
use crate::openapi::{Types, members};
use crate::routes::{ROUTES, Route};

/// Nothing is loaded, nothing runs; the page's own style is all that it has.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}\
code{font:14px ui-monospace,monospace}h2{font-size:1.1rem;margin:2rem 0 .2rem}h2 code{font-weight:600}\
p{margin:.2rem 0}table{border-collapse:collapse;margin:.4rem 0}td,th{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top}\
.scope{opacity:.75}";

/// Needs no token: a browser has none to show, and the page says nothing of the project.
pub(crate) async fn reference() -> Answered {
    let mut response = Response::new(Body::from(html()));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

fn html() -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Rowcast: HTTP API</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\
         <h1>Rowcast: HTTP API</h1><p>Each request has a token: <code>Authorization: Bearer TOKEN</code>. \
         The same as an OpenAPI document, with every member of every answer: \
         <code>GET /api/v1/openapi.json</code>.</p>"
    );
    let mut types = Types::new();
    for route in ROUTES {
        out.push_str(&section(route, &mut types));
    }
    out.push_str("</body></html>");
    out
}

fn section(route: &Route, types: &mut Types) -> String {
    let mut out = format!(
        "<h2><code>{}</code></h2><p>{} <span class=\"scope\">Scope: {}.</span></p>",
        escaped(&route.asked()),
        escaped(route.summary),
        route.scope_word()
    );
    let mut rows = String::new();
    for (kind, describe) in [("query", route.query), ("body", route.body)] {
        for member in members(&describe(&mut types.requests)) {
            rows.push_str(&format!(
                "<tr><td>{kind}</td><td><code>{}</code></td><td>{}</td></tr>",
                escaped(&member.name),
                escaped(&member.about)
            ));
        }
    }
    if !rows.is_empty() {
        out.push_str(&format!("<table>{rows}</table>"));
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_route_and_loads_nothing() {
        let page = html();
        for route in ROUTES {
            assert!(page.contains(&escaped(&route.asked())), "{}", route.asked());
        }
        for loads in [
            "<script", "src=", "href=", "url(", "@import", "http://", "https://",
        ] {
            assert!(!page.contains(loads), "{loads}");
        }
    }
}
