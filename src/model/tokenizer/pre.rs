//! Pre-tokenizers: how a text is cut into words before byte-pair encoding, by `tokenizer.ggml.pre`.
//!
//! The expressions are those of llama.cpp (src/llama-vocab.cpp), which took them from the models' own tokenizer files,
//! without look-around: the only one they use is the final `\s+(?!\S)|\s+`, which means "white space up to, but not
//! including, its last character if a word follows". [`Tail`] does that in code. What remains is a regular language and
//! runs in time linear in the text, on an engine that does not backtrack.

use fancy_regex::Regex;

/// What ends an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// Nothing: what does not match is one word.
    None,
    /// `\s+(?!\S)|\s+`.
    Spaces,
    /// The same, behind alternatives that may themselves end in line breaks.
    SpacesNotBreaks,
}

/// One pass over the words of the pass before.
type Pass = (&'static str, Tail);

/// How one family of models cuts text.
#[derive(Debug)]
struct Family {
    names: &'static [&'static str],
    passes: &'static [Pass],
    /// A word that is in the vocabulary is one token, whatever the merges say.
    whole_words: bool,
    /// Whether a sequence starts with BOS if the file does not say.
    add_bos: bool,
}

const GPT2: Pass = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+", Tail::Spaces);
const DIGIT: Pass = (r"\p{N}", Tail::None);
const DIGITS_BY_THREE: Pass = (r"\p{N}{1,3}", Tail::None);
const LLAMA3: Pass = (
    r"'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    Tail::SpacesNotBreaks,
);
const QWEN2: Pass = (
    r"'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    Tail::SpacesNotBreaks,
);
const QWEN35: Pass = (
    r"'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+",
    Tail::SpacesNotBreaks,
);
const TEKKEN: Pass = (
    r"[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]*[\p{L}--[A-Z]]+|[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]+[\p{L}--[A-Z]]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+",
    Tail::SpacesNotBreaks,
);
const GPT4O: Pass = (
    r"[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]*[\p{L}--[A-Z]]+(?:'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]))?|[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]+[\p{L}--[A-Z]]*(?:'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]))?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+",
    Tail::SpacesNotBreaks,
);
const SEED_CODER: Pass = (
    r"'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+",
    Tail::SpacesNotBreaks,
);
const BAILING: Pass = (
    r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]",
    Tail::SpacesNotBreaks,
);
const DEEPSEEK3: Pass = (
    r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+",
    Tail::SpacesNotBreaks,
);

const FAMILIES: &[Family] = &[
    Family {
        names: &["default"],
        passes: &[
            (r"[\p{P}\$\+<=>\^~\|]+", Tail::None),
            GPT2,
            (r"\p{N}+", Tail::None),
            (r"[0-9][0-9][0-9]", Tail::None),
        ],
        whole_words: false,
        add_bos: false,
    },
    Family {
        names: &[
            "gpt-2",
            "phi-2",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
        ],
        passes: &[GPT2],
        whole_words: false,
        add_bos: false,
    },
    Family {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
        passes: &[DIGIT, GPT2],
        whole_words: false,
        add_bos: false,
    },
    Family {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        passes: &[LLAMA3],
        whole_words: true,
        add_bos: true,
    },
    Family { names: &["glm4", "glm5"], passes: &[LLAMA3], whole_words: true, add_bos: false },
    Family { names: &["dbrx", "smaug-bpe", "chatglm-bpe"], passes: &[LLAMA3], whole_words: false, add_bos: false },
    Family {
        names: &[
            "qwen2",
            "deepseek-r1-qwen",
            "stablelm2",
            "megrez",
            "hunyuan",
            "solar-open",
            "grok-2",
            "kormo",
            "f2llmv2",
        ],
        passes: &[QWEN2],
        whole_words: false,
        add_bos: false,
    },
    Family { names: &["qwen35"], passes: &[QWEN35], whole_words: false, add_bos: false },
    Family { names: &["tekken"], passes: &[TEKKEN], whole_words: true, add_bos: true },
    Family {
        names: &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
        passes: &[GPT4O],
        whole_words: false,
        add_bos: false,
    },
    Family {
        names: &["falcon"],
        passes: &[(r"[\p{P}\$\+<=>\^~\|`]+", Tail::None), GPT2, (r"[0-9][0-9][0-9]", Tail::None)],
        whole_words: false,
        add_bos: false,
    },
    Family {
        names: &["deepseek-coder"],
        passes: &[
            (r"[\r\n]", Tail::None),
            (r"\s?\p{L}+", Tail::None),
            (r"\s?\p{P}+", Tail::None),
            (r"[一-龥ࠀ-一가-\u{d7ff}]+", Tail::None),
            DIGIT,
        ],
        whole_words: false,
        add_bos: false,
    },
    Family {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        passes: &[DIGITS_BY_THREE, (r"[一-龥぀-ゟ゠-ヿ]+", Tail::None), DEEPSEEK3],
        whole_words: false,
        add_bos: false,
    },
    Family { names: &["seed-coder"], passes: &[SEED_CODER], whole_words: false, add_bos: false },
    Family {
        names: &["bailingmoe", "bailingmoe2", "llada-moe"],
        passes: &[BAILING],
        whole_words: false,
        add_bos: false,
    },
];

/// A pre-tokenizer ready to cut.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    passes: Vec<(Regex, Tail)>,
    pub(super) whole_words: bool,
    pub(super) add_bos: bool,
}

impl PreTokenizer {
    /// The pre-tokenizer of this name, if it is known.
    pub(super) fn named(name: &str) -> Option<Self> {
        let family = FAMILIES.iter().find(|family| family.names.contains(&name))?;
        let compile = |&(pattern, tail): &Pass| {
            let pattern = if tail == Tail::None { pattern.to_owned() } else { format!(r"{pattern}|\s+") };
            // The expressions are constants; a test compiles all of them.
            Some((Regex::new(&pattern).ok()?, tail))
        };
        let passes = family.passes.iter().map(compile).collect::<Option<_>>()?;
        Some(Self { passes, whole_words: family.whole_words, add_bos: family.add_bos })
    }

    /// The words of a text: all of it, in order, none empty.
    pub(super) fn split<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut words = if text.is_empty() { Vec::new() } else { vec![text] };
        for (regex, tail) in &self.passes {
            let mut next = Vec::with_capacity(words.len() * 2);
            for word in words {
                pass(regex, *tail, word, &mut next);
            }
            words = next;
        }
        words
    }
}

/// Appends the matches in `text` and what is between them.
fn pass<'a>(regex: &Regex, tail: Tail, text: &'a str, words: &mut Vec<&'a str>) {
    let mut at = 0;
    // An engine without backtracking has no error to give; should one come, the rest stays one word.
    while let Ok(Some(found)) = regex.find_from_pos(text, at) {
        let (start, mut end) = (found.start(), found.end());
        if end == start {
            break;
        }
        let matched = &text[start..end];
        if let Some(last) = matched.chars().next_back()
            && end < text.len()
            && ends_in_spaces(tail, last)
            && last.len_utf8() < matched.len()
        {
            end -= last.len_utf8();
        }
        if start > at {
            words.push(&text[at..start]);
        }
        words.push(&text[start..end]);
        at = end;
    }
    if at < text.len() {
        words.push(&text[at..]);
    }
}

/// Whether a match that ends in `last` is one of the tail's: no other alternative ends in white space other than line
/// breaks.
fn ends_in_spaces(tail: Tail, last: char) -> bool {
    match tail {
        Tail::None => false,
        Tail::Spaces => last.is_whitespace(),
        Tail::SpacesNotBreaks => last.is_whitespace() && !matches!(last, '\r' | '\n'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_expression_compiles_and_names_are_unique() {
        let mut names: Vec<&str> = FAMILIES.iter().flat_map(|f| f.names).copied().collect();
        for name in &names {
            assert!(PreTokenizer::named(name).is_some(), "{name}");
        }
        names.sort_unstable();
        assert!(names.windows(2).all(|w| w[0] != w[1]));
        assert!(PreTokenizer::named("no-such").is_none());
    }

    #[test]
    fn words_of_the_common_families() {
        let split = |name: &str, text| PreTokenizer::named(name).unwrap().split(text).join("|");
        assert_eq!(split("gpt-2", "I'll pay  1234 $!\n\n ok "), "I|'ll| pay| | 1234| $!|\n\n| ok| ");
        assert_eq!(split("smollm", "pay 1234"), "pay| |1|2|3|4");
        assert_eq!(split("llama-bpe", "I'LL pay 12345!\n\n  ok"), "I|'LL| pay| |123|45|!\n\n| | ok");
        assert_eq!(split("qwen2", "12 a\t\tb"), "1|2| a|\t|\tb");
        assert_eq!(split("tekken", "HelloWorld ABc"), "Hello|World| ABc");
        assert_eq!(split("llama-bpe", " \n \n x"), " \n \n| x");
    }

    /// The expressions as published, with their look-ahead: what the rewriting must equal.
    const PUBLISHED: [(&str, &str); 3] = [
        ("gpt-2", r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
        (
            "llama-bpe",
            r"'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        (
            "tekken",
            r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
    ];

    /// Compiled once: that takes longer than all the cutting.
    fn families() -> &'static [PreTokenizer] {
        static ALL: std::sync::LazyLock<Vec<PreTokenizer>> = std::sync::LazyLock::new(|| {
            FAMILIES.iter().map(|family| PreTokenizer::named(family.names[0]).unwrap()).collect()
        });
        &ALL
    }

    fn published() -> &'static [(PreTokenizer, Regex)] {
        static ALL: std::sync::LazyLock<Vec<(PreTokenizer, Regex)>> = std::sync::LazyLock::new(|| {
            PUBLISHED.map(|(name, regex)| (PreTokenizer::named(name).unwrap(), Regex::new(regex).unwrap())).into()
        });
        &ALL
    }

    proptest! {
        #[test]
        fn equals_the_published_expression(text in r"[ \t\n\r\u{a0}a-cA-C0-3'.,/$Éé漢slvre\u{301}]{0,40}") {
            for (ours, regex) in published() {
                let expected: Vec<&str> = regex.find_iter(&text).map(|m| m.unwrap().as_str()).collect();
                prop_assert_eq!(ours.split(&text), expected);
            }
        }

        #[test]
        fn no_word_crosses_from_a_letter_to_a_line_break(
            left in r"[ \t\n\r\u{a0}a-cA-C0-3'.,/$Éé漢slvre\u{301}]{0,20}[a-zA-Z]",
            right in r"\n[ \t\n\r\u{a0}a-cA-C0-3'.,/$Éé漢slvre\u{301}]{0,20}",
        ) {
            let text = format!("{left}{right}");
            for family in families() {
                prop_assert_eq!(family.split(&text), [family.split(&left), family.split(&right)].concat());
            }
        }

        #[test]
        fn the_words_are_the_text(text in any::<String>()) {
            for family in families() {
                let words = family.split(&text);
                prop_assert!(words.iter().all(|w| !w.is_empty()));
                prop_assert_eq!(words.concat(), text.as_str());
            }
        }
    }
}
