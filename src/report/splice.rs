//! Tables inside a file somebody else writes: what stands between two markers is replaced.

use std::path::Path;

use super::ReportError;

/// Opening marker.
pub const BEGIN: &str = "<!-- BEGIN tierbench -->";
/// Closing marker.
pub const END: &str = "<!-- END tierbench -->";

/// `text` with what stands between the markers replaced by `body`, and above it the command that does this again. What
/// is outside the markers is not touched, line endings included.
///
/// # Errors
/// [`ReportError::Markers`] naming `path` unless there is exactly one pair, in order.
pub fn splice(text: &str, body: &str, command: &str, path: &Path) -> Result<String, ReportError> {
    let refuse = |why| ReportError::Markers { path: path.to_owned(), why };
    let count = |marker| text.matches(marker).count();
    match (count(BEGIN), count(END)) {
        (0, 0) => return Err(refuse("no tierbench markers")),
        (1, 1) => {}
        (_, 0) | (0, _) => return Err(refuse("one of the tierbench markers is missing")),
        _ => return Err(refuse("more than one pair of tierbench markers")),
    }
    let (before, rest) = text.split_once(BEGIN).ok_or_else(|| refuse("no tierbench markers"))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| refuse("the END marker stands before the BEGIN marker"))?;
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    // A code span ends at a backtick; nothing else in the command can leave it.
    let command = command.replace(['`', '\n', '\r'], " ");
    let block = format!("{BEGIN}\n\n{}\n\nMade by `{command}`.\n\n{END}", body.trim_matches('\n'));
    Ok(format!("{before}{}{after}", block.replace('\n', newline)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, ReportError> {
        splice(text, "| a |\n", "tierbench report --splice README.md", Path::new("README.md"))
    }

    #[test]
    fn only_what_is_between_the_markers_changes_and_twice_is_once() {
        let text = format!("# Title\n{BEGIN}\nold\n{END}\nrest\n");
        let once = run(&text).unwrap();
        assert_eq!(
            once,
            format!("# Title\n{BEGIN}\n\n| a |\n\nMade by `tierbench report --splice README.md`.\n\n{END}\nrest\n")
        );
        assert_eq!(run(&once).unwrap(), once);
    }

    #[test]
    fn line_endings_of_the_file_are_kept() {
        let once = run(&format!("a\r\n{BEGIN}\r\n{END}\r\nb\r\n")).unwrap();
        assert_eq!(once.matches('\n').count(), once.matches("\r\n").count());
    }

    #[test]
    fn missing_doubled_or_reversed_markers_are_named() {
        for (text, why) in [
            ("nothing".to_owned(), "no tierbench markers"),
            (format!("{BEGIN} only"), "one of the tierbench markers is missing"),
            (format!("{BEGIN}{END}{BEGIN}{END}"), "more than one pair"),
            (format!("{END} {BEGIN}"), "END marker stands before"),
        ] {
            let message = run(&text).unwrap_err().to_string();
            assert!(message.contains(why) && message.contains("README.md") && message.contains(BEGIN), "{message}");
        }
    }
}
