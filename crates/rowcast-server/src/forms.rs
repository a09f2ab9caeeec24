//! Answers and bodies that are no JSON of ours, for the description of routes.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

macro_rules! forms {
    ($($(#[$about:meta])* $name:ident $media:literal;)*) => {$(
        $(#[$about])*
        pub(crate) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "contentMediaType": $media })
            }
        }
    )*};
}

forms! {
    /// Plain text.
    Text "text/plain";
    /// A page.
    Html "text/html";
    /// What a sender outside makes of it, and signs.
    Signed "*/*";
    /// Server-sent events.
    Events "text/event-stream";
}
