//! A model without its flag, as in `bench model.gguf`: one line that names the flag, as other tools take a file alone.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What to say of an argument that no flag precedes, given to a command that takes models by `-m`; `None` for any other
/// error. `arguments` are those of the process, without its name.
pub(super) fn advice(
    error: &clap::Error,
    command: &clap::Command,
    arguments: impl Iterator<Item = String>,
) -> Option<String> {
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(model))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return None;
    };
    let is_list = model.chars().all(|c| c.is_ascii_digit() || ",.-+*".contains(c));
    if model.starts_with('-') || is_list {
        return None;
    }
    let command = arguments.into_iter().find_map(|argument| command.find_subcommand(argument))?;
    let has = |short, long| command.get_arguments().any(|a| a.get_short() == Some(short) && a.get_long() == Some(long));
    let prompt = if has('p', "prompt") { ", a prompt with -p" } else { "" };
    let name = command.get_name();
    let quoted = if model.contains(' ') { format!("'{model}'") } else { model.clone() };
    has('m', "model")
        .then(|| format!("`{model}` has no flag: name a model with -m{prompt}, as in `tierbench {name} -m {quoted}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    fn said(line: &str) -> Option<String> {
        let words = || line.split(' ').map(str::to_owned);
        let error = <Cli as clap::Parser>::try_parse_from(std::iter::once("tierbench".to_owned()).chain(words()))
            .expect_err("a misplaced argument");
        advice(&error, &crate::cli::command(), words())
    }

    #[test]
    fn a_model_without_its_flag_is_told_which() {
        for command in ["run", "bench", "eval", "fidelity", "quantize"] {
            let text = said(&format!("{command} a/m.gguf")).expect("advice");
            assert!(text.contains(&format!("`tierbench {command} -m a/m.gguf`")) && !text.contains("-p"), "{text}");
        }
        assert!(said("--offline bench -p 512 m.gguf -n 8").expect("advice").contains("bench -m m.gguf`"));
        assert!(said("generate Hello").expect("advice").contains("a prompt with -p"));
    }

    #[test]
    fn other_errors_keep_their_own_words() {
        for line in ["bench --modle m.gguf", "bench -p 512 128,256", "doctor m.gguf", "banch m.gguf", "bench -r many"] {
            assert_eq!(said(line), None, "{line}");
        }
    }
}
