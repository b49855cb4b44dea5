//! Sentences with commands in them: what stands between two backticks is code, in every format.

/// A piece of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span<'a> {
    /// Words; a backtick without a partner is one of them.
    Text(&'a str),
    /// A command, without its backticks.
    Code(&'a str),
}

/// The pieces of a sentence, in order, each made into markup by `write`.
pub(super) fn mark_up(sentence: &str, write: impl Fn(Span<'_>) -> String) -> String {
    let mut out = String::with_capacity(sentence.len());
    let (mut from, mut rest) = (0, sentence);
    while let Some((_, after)) = rest.split_once('`') {
        let Some((code, next)) = after.split_once('`') else { break };
        if !code.trim().is_empty() {
            let text = &sentence[from..sentence.len() - after.len() - 1];
            out.push_str(&write(Span::Text(text)));
            out.push_str(&write(Span::Code(code)));
            from = sentence.len() - next.len();
        }
        rest = next;
    }
    out.push_str(&write(Span::Text(&sentence[from..])));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paired_backticks_make_code_and_others_are_text() {
        let shown = |text: &str| {
            mark_up(text, |span| match span {
                Span::Text(text) => text.to_uppercase(),
                Span::Code(code) => format!("<{code}>"),
            })
        };
        for (text, marked) in [
            ("", ""),
            ("plain", "PLAIN"),
            ("see `a b`, then `c`.", "SEE <a b>, THEN <c>."),
            ("`a`", "<a>"),
            ("one ` alone", "ONE ` ALONE"),
            ("`a` ` b", "<a> ` B"),
            ("x `` y ` z", "X `` Y ` Z"),
            ("ä ` ` `ö`", "Ä ` ` <ö>"),
        ] {
            assert_eq!(shown(text), marked);
        }
    }
}
