//! The tasks that ship inside the binary.

/// A task folder's files: (name, text).
pub(super) type Files = &'static [(&'static str, &'static str)];

macro_rules! embed {
    ($($name:literal $(+ $extra:literal)*),* $(,)?) => {
        &[$((
            $name,
            &[
                ("task.yaml", include_str!(concat!("../../../tasks/", $name, "/task.yaml"))),
                ("items.jsonl", include_str!(concat!("../../../tasks/", $name, "/items.jsonl"))),
                ("shots.jsonl", include_str!(concat!("../../../tasks/", $name, "/shots.jsonl"))),
                ("SOURCE.md", include_str!(concat!("../../../tasks/", $name, "/SOURCE.md"))),
                $(($extra, include_str!(concat!("../../../tasks/", $name, "/", $extra))),)*
            ],
        )),*]
    };
}

/// Every shipped task by name.
pub(super) const TASKS: &[(&str, Files)] = embed![
    "email_summaries",
    "invoice_fields",
    "sql_reports" + "databases.jsonl",
    "support_answers",
    "support_tickets"
];
