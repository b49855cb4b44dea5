//! The tasks that ship inside the binary.

/// A task folder's files: (name, text).
pub(super) type Files = &'static [(&'static str, &'static str)];

macro_rules! embed {
    ($($name:literal),* $(,)?) => {
        &[$((
            $name,
            &[
                ("task.yaml", include_str!(concat!("../../../tasks/", $name, "/task.yaml"))),
                ("items.jsonl", include_str!(concat!("../../../tasks/", $name, "/items.jsonl"))),
                ("shots.jsonl", include_str!(concat!("../../../tasks/", $name, "/shots.jsonl"))),
                ("SOURCE.md", include_str!(concat!("../../../tasks/", $name, "/SOURCE.md"))),
            ],
        )),*]
    };
}

/// Every shipped task by name.
pub(super) const TASKS: &[(&str, Files)] = embed!["invoice_fields", "support_tickets"];
