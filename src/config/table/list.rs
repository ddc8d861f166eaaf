//! The macro that lists the settings of an object.
//!
//! Owns: how an entry of the table is written. Must not: have a text for readers of the documentation in the module: those
//! are in `describe.rs`, which is compiled for the native tools alone.

/// Lists the settings of an object: what a setting means (its documentation), its entry, and, as far as they help, when to
/// change it and an example in JSON. The settings of a `Section` follow after `fields`.
macro_rules! settings {
    ($(
        $(#[doc = $meaning:literal])+
        $name:ident: $kind:ty = $entry:expr
        $(, fields: [$($fields:expr),+])?
        $(, change: $change:literal)?
        $(, example: $example:literal)?;
    )+) => {
        $(
            $(#[doc = $meaning])+
            pub static $name: $kind = $entry;
        )+

        /// All settings of the object, with what the documentation says of each.
        #[cfg(not(target_arch = "wasm32"))]
        pub static ROWS: &[$crate::config::table::describe::Row] = &[$(
            $crate::config::table::describe::Row::new(&$name, concat!($($meaning),+))
                $(.with_fields(&[$($fields),+]))?
                $(.with_change($change))?
                $(.with_example($example))?
        ),+];
    };
}
pub(super) use settings;
