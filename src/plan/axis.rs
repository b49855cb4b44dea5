//! Axes of a benchmark on the command line, in llama-bench's syntax.

use super::PlanError;

/// More values than this on one axis is a typing error.
const MAX_VALUES: usize = 1000;

/// Reads a list of numbers and ranges: `512`, `128,512`, `1-4` (1 2 3 4), `0-4096+1024` (0 1024 2048 3072 4096),
/// `1-16*2` (1 2 4 8 16).
///
/// # Errors
/// [`PlanError::BadList`] for anything else: an empty list, a step of 0, a factor below 2, a range that goes down.
pub fn numbers(text: &str) -> Result<Vec<u32>, PlanError> {
    let bad = || PlanError::BadList { got: text.to_owned() };
    let mut values = Vec::new();
    for part in text.split(',') {
        let part = part.trim();
        match part.split_once('-') {
            None => values.push(part.parse().map_err(|_error| bad())?),
            Some((first, rest)) => {
                let first: u32 = first.parse().map_err(|_error| bad())?;
                expand(first, rest, &mut values).ok_or_else(bad)?;
            }
        }
        if values.len() > MAX_VALUES {
            return Err(bad());
        }
    }
    Ok(values)
}

/// Appends the range from `first` to what `rest` says: `last`, `last+step`, `last*factor`.
fn expand(first: u32, rest: &str, values: &mut Vec<u32>) -> Option<()> {
    let (last, step, factor) = if let Some((last, step)) = rest.split_once('+') {
        (last, step.parse().ok().filter(|&n: &u32| n > 0)?, 1)
    } else if let Some((last, factor)) = rest.split_once('*') {
        (last, 0, factor.parse().ok().filter(|&n: &u32| n > 1 && first > 0)?)
    } else {
        (rest, 1, 1)
    };
    let last: u32 = last.parse().ok().filter(|&n| n >= first)?;
    let mut value = first;
    while value <= last && values.len() <= MAX_VALUES {
        values.push(value);
        let Some(next) = value.checked_mul(factor).and_then(|n| n.checked_add(step)) else { break };
        value = next;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_expand_as_in_llama_bench() {
        for (text, expected) in [
            ("512", vec![512]),
            ("512, 1024", vec![512, 1024]),
            ("1-3", vec![1, 2, 3]),
            ("0-4096+1024", vec![0, 1024, 2048, 3072, 4096]),
            ("1-16*2", vec![1, 2, 4, 8, 16]),
            ("1-20*3,7", vec![1, 3, 9, 7]),
            ("4294967295-4294967295", vec![u32::MAX]),
        ] {
            assert_eq!(numbers(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_list_is_refused_with_an_example() {
        for text in
            ["", "a", "1,", "3-1", "1-5+0", "1-5*1", "0-5*2", "-5", "1-2-3", "1.5", "0-4294967295", "99999999999"]
        {
            let message = numbers(text).unwrap_err().to_string();
            assert!(message.contains("0-4096+1024"), "{text}: {message}");
        }
    }
}
