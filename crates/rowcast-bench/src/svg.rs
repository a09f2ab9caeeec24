//! Bar charts as SVG, readable on light and dark pages: a card with a background of its own that
//! follows the reader's system.

use std::fmt::Write as _;

use crate::results::Kind;

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    /// The value as it is written beside the bar.
    pub(crate) text: String,
    pub(crate) kind: Kind,
}

const WIDTH: f64 = 800.0;
const LABELS: f64 = 340.0;
const VALUES: f64 = 110.0;
const ROW: f64 = 28.0;
const TOP: f64 = 58.0;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#2b303a}\
.t{font-weight:600;font-size:15px}.s{fill:#697180;font-size:12px}\
.c{fill:#fbfbfc;stroke:#dfe2e7}.l{stroke:#c9ced6}\
.ours{fill:#2f7a78}.limit{fill:#a3abb8}.peer{fill:#c69a5b}\
@media(prefers-color-scheme:dark){\
text{fill:#dde1e8}.s{fill:#98a1b0}.c{fill:#1d2128;stroke:#343a45}.l{stroke:#454d5a}\
.ours{fill:#4fb0ab}.limit{fill:#6d7685}.peer{fill:#b98b4e}}";

/// Text that can stand between tags or in quotes.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not allowed in XML, however written.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Ours => "ours",
        Kind::Limit => "limit",
        Kind::Peer => "peer",
    }
}

/// A chart of horizontal bars. `mark` is a value at which a line is drawn: the bar of a goal.
pub(crate) fn chart(
    title: &str,
    subtitle: &str,
    bars: &[Bar],
    mark: Option<(f64, &str)>,
) -> String {
    let height = TOP + ROW * bars.len() as f64 + 34.0;
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let most = mark
        .map_or(most, |(value, _)| most.max(value))
        .max(f64::MIN_POSITIVE);
    let scale = (WIDTH - LABELS - VALUES) / most;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{title}\">\n<style>{STYLE}</style>\n\
         <rect class=\"c\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n\
         <text class=\"t\" x=\"20\" y=\"27\">{title}</text>\n\
         <text class=\"s\" x=\"20\" y=\"45\">{subtitle}</text>\n",
        WIDTH - 1.0,
        height - 1.0,
        title = escaped(title),
        subtitle = escaped(subtitle),
    );
    for (index, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * index as f64;
        let length = (bar.value * scale).max(1.0);
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
             <rect class=\"{}\" x=\"{LABELS:.0}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"16\" rx=\"3\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LABELS - 10.0,
            y + 16.5,
            escaped(&bar.label),
            class(bar.kind),
            y + 4.0,
            LABELS + length + 8.0,
            y + 16.5,
            escaped(&bar.text),
        );
    }
    let bottom = TOP + ROW * bars.len() as f64;
    if let Some((value, text)) = mark {
        let x = LABELS + value * scale;
        let _ = writeln!(
            svg,
            "<line class=\"l\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\" \
             stroke-dasharray=\"3 3\"/>\n\
             <text class=\"s\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            TOP - 2.0,
            bottom + 18.0,
            escaped(text),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_can_not_leave_its_place() {
        assert_eq!(
            escaped("a<b & \"c\" 'd'>\u{7}"),
            "a&lt;b &amp; &quot;c&quot; &#39;d&#39;&gt; "
        );
        let bars = [Bar {
            label: "</text><script>".to_owned(),
            value: 1.0,
            text: "1 < 2".to_owned(),
            kind: Kind::Ours,
        }];
        let svg = chart("t \"&\"", "s", &bars, None);
        assert!(
            !svg.contains("<script>") && svg.contains("1 &lt; 2"),
            "{svg}"
        );
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn the_longest_bar_fills_the_place_and_the_others_are_in_proportion() {
        let bar = |value| Bar {
            label: "x".to_owned(),
            value,
            text: "y".to_owned(),
            kind: Kind::Peer,
        };
        let svg = chart("t", "s", &[bar(4.0), bar(1.0)], Some((2.0, "goal")));
        for part in ["width=\"350.0\"", "width=\"87.5\"", "x1=\"515.0\""] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
    }
}
