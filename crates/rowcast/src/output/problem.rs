//! Errors in three parts: what was attempted, what the other side said, the way out. The rendering
//! is that of project problems, so that every error looks the same.

use rowcast_app::{Failure, Problem};
use serde::Serialize;

use super::{Output, Style};

impl Output {
    /// Shows why a command could not be done: as JSON on stdout, or as text on stderr.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            #[derive(Serialize)]
            struct Document<'a> {
                errors: &'a [Problem],
            }
            self.document(&Document {
                errors: &failure.problems,
            });
        } else {
            self.failure_in_turn(failure);
        }
    }

    /// The same, for one of several syncs: a JSON document that holds all of them follows.
    pub(crate) fn failure_in_turn(self, failure: &Failure) {
        for (i, problem) in failure.problems.iter().enumerate() {
            if i > 0 {
                self.say_unless_json("");
            }
            self.say_unless_json(&render(problem, self.stderr));
        }
    }
}

/// One problem as text.
pub(crate) fn render(problem: &Problem, style: Style) -> String {
    problem.render(style.colour)
}

#[cfg(test)]
mod tests {
    use rowcast_core::{Code, Reason};

    use super::*;

    #[test]
    fn an_error_has_three_parts_and_where_to_read_more() {
        let reason = Reason::new(
            Code::StateNotWritable,
            "source \"shop\" may not write to schema \"_rowcast\"",
        )
        .detail("PostgreSQL said: permission denied for schema _rowcast (42501)")
        .hint("run as an owner:  GRANT USAGE, CREATE ON SCHEMA \"_rowcast\" TO \"reporting\";");
        insta::assert_snapshot!(render(&Problem::general(reason), Style::PLAIN), @r#"
        error[E0302]: source "shop" may not write to schema "_rowcast"
           = detail: PostgreSQL said: permission denied for schema _rowcast (42501)
           = hint: run as an owner:  GRANT USAGE, CREATE ON SCHEMA "_rowcast" TO "reporting";
           = more: rowcast explain E0302
        "#);
    }
}
