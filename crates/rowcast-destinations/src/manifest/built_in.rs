//! The manifests that come with the program: every folder under `connectors/` at the root of the
//! repository. Adding one adds a folder and nothing else; `build.rs` finds it.

/// A manifest with its fixtures, as text.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn {
    /// The folder's name, and the connector's.
    pub name: &'static str,
    /// `manifest.yml`.
    pub manifest: &'static str,
    /// File names and texts of `fixtures/*.yml`, in order.
    pub fixtures: &'static [(&'static str, &'static str)],
}

include!(concat!(env!("OUT_DIR"), "/connectors.rs"));

/// All of them, by name.
pub fn built_in() -> &'static [BuiltIn] {
    BUILT_IN
}
