//! What a text claims that its source does not hold: numbers, amounts, dates, addresses, and names.

use std::collections::BTreeSet;

/// Days and months: naming another one is a false date.
const DATE_WORDS: &[&str] = &[
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
/// Numbers that texts write as words.
const NUMBER_WORDS: &[(&str, &str)] = &[
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
    ("eleven", "11"),
    ("twelve", "12"),
    ("noon", "12"),
    ("midnight", "12"),
    ("midnight", "0"),
    ("first", "1"),
    ("second", "2"),
    ("third", "3"),
];

/// Things of `text` that do not occur in `source`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unsupported {
    /// Numbers, amounts, dates, links and e-mail addresses: errors.
    pub(super) facts: BTreeSet<String>,
    /// Capitalised words inside a sentence: reported only, because a title or a capital too many is no error.
    pub(super) names: BTreeSet<String>,
}

/// Compares by value: `$1,250.00` supports `1250`, `three` supports `3`, `Friday` supports `friday`.
pub(super) fn unsupported(source: &str, text: &str) -> Unsupported {
    let known = facts(source, true);
    let words: BTreeSet<String> = words(source).map(str::to_lowercase).collect();
    let facts = facts(text, false).difference(&known).cloned().collect();
    let names = names(text).filter(|name| !words.contains(&name.to_lowercase())).map(str::to_owned).collect();
    Unsupported { facts, names }
}

/// Numbers by value, date words and addresses of a text; with `generous`, also numbers written as words.
fn facts(text: &str, generous: bool) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for token in text.split_whitespace() {
        let bare = token.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        if bare.contains('@') || bare.starts_with("http") || bare.starts_with("www.") {
            facts.insert(bare);
            continue;
        }
        facts.extend(numbers(token));
        for word in token.split(|c: char| !c.is_alphabetic()).map(str::to_lowercase) {
            // `may` and `march` are verbs more often than not.
            if DATE_WORDS.contains(&word.as_str()) && !matches!(word.as_str(), "may" | "march") {
                facts.insert(word.clone());
            }
            if generous {
                facts.extend(NUMBER_WORDS.iter().filter(|(name, _)| *name == word).map(|(_, n)| (*n).to_owned()));
            }
        }
    }
    facts
}

/// Runs of digits with thousands commas and decimals, without zeros that say nothing.
fn numbers(token: &str) -> impl Iterator<Item = String> + '_ {
    token.split(|c: char| !(c.is_ascii_digit() || matches!(c, ',' | '.'))).filter_map(|run| {
        let run = run.trim_matches(|c: char| !c.is_ascii_digit()).replace(',', "");
        let run = if run.contains('.') { run.trim_end_matches('0').trim_end_matches('.') } else { run.as_str() };
        let short = run.trim_start_matches('0');
        match (run.is_empty(), short.is_empty() || short.starts_with('.')) {
            (true, _) => None,
            (_, true) => Some(format!("0{short}")),
            _ => Some(short.to_owned()),
        }
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Capitalised words that do not begin a sentence; `I` and words all in capitals are no names.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let mut begins = true;
    text.split_whitespace().filter_map(move |token| {
        let first = std::mem::replace(&mut begins, token.ends_with(['.', '!', '?', ':']));
        let word = token.trim_matches(|c: char| !c.is_alphanumeric());
        let word = word.strip_suffix("'s").unwrap_or(word);
        let mut letters = word.chars();
        let capital = letters.next().is_some_and(char::is_uppercase);
        (!first && capital && letters.any(char::is_lowercase)).then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts_of(source: &str, text: &str) -> Vec<String> {
        unsupported(source, text).facts.into_iter().collect()
    }

    #[test]
    fn values_count_not_their_spelling() {
        let source = "Three chairs for $1,250.00 on March 4 at 09:30, room 12. Write to ann@example.com.";
        for text in ["3 chairs, 1250 dollars", "1250.00", "March 4th, 9:30", "room 12.", "Ask ann@example.com"] {
            assert!(facts_of(source, text).is_empty(), "{text}: {:?}", facts_of(source, text));
        }
    }

    #[test]
    fn inventions_are_named() {
        assert_eq!(facts_of("Pay $40 by Friday", "Pay $45.50 by Monday"), ["45.5", "monday"]);
        assert_eq!(facts_of("Write to a@b.c", "Write to x@b.c or www.b.c"), ["www.b.c", "x@b.c"]);
        assert_eq!(facts_of("It costs 0.50", "It costs 0.50, not 0 or 00"), ["0"]);
    }

    #[test]
    fn names_are_capitals_inside_a_sentence() {
        let found = unsupported("Ann met the board.", "Today Ann met Bob. Great! The CEO and I left with Carla's dog.");
        assert_eq!(found.names.into_iter().collect::<Vec<_>>(), ["Bob", "Carla"]);
    }
}
