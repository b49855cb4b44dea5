//! The frame of a page: head, content security policy, styles, data and scripts.

use super::embed::{digest, escape};
use crate::report::ReportError;

/// D3, which Plot needs.
pub(crate) const D3: &str = include_str!("vendor/d3.min.js");
/// Observable Plot.
pub(crate) const PLOT: &str = include_str!("vendor/plot.umd.min.js");
/// Sorting, filtering, saving.
pub(crate) const TABLES: &str = include_str!("tables.js");
/// The plots of a record's page.
pub(crate) const PLOTS: &str = include_str!("plots.js");
/// The item explorer.
pub(crate) const ITEMS: &str = include_str!("items.js");
/// The style of every page.
pub(crate) const STYLE: &str = include_str!("page.css");

/// The style element Plot puts into every drawing of the class `plot`: allowed by its hash like the page's own.
const PLOT_STYLE: &str = ":where(.plot) {
  --plot-background: white;
  display: block;
  height: auto;
  height: intrinsic;
  max-width: 100%;
}
:where(.plot text),
:where(.plot tspan) {
  white-space: pre;
}";

/// A script of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Script<'a> {
    /// In the page.
    Inline(&'a str),
    /// In a file beside it, by its path from the page.
    Linked(&'a str),
}

/// A page to be written.
#[derive(Debug)]
pub(crate) struct Shell<'a> {
    /// Title, not yet escaped.
    pub(crate) title: &'a str,
    /// Markup, escaped where it comes from a record.
    pub(crate) body: &'a str,
    /// What the scripts read as they start.
    pub(crate) data: &'a [Data<'a>],
    /// Scripts, in order.
    pub(crate) scripts: &'a [Script<'a>],
    /// What they need on request only: behind them, so that they do not wait until it is read.
    pub(crate) last: Option<Data<'a>>,
}

/// A data element: id, media type, and content that holds no `<`.
pub(crate) type Data<'a> = (&'a str, &'a str, String);

impl Shell<'_> {
    /// The page.
    ///
    /// # Errors
    /// None yet; pages may come to refuse what they cannot show.
    pub(crate) fn render(&self) -> Result<String, ReportError> {
        let mut allowed: Vec<String> = Vec::new();
        let mut scripts = String::new();
        for script in self.scripts {
            match script {
                Script::Inline(text) => {
                    allowed.push(format!("'{}'", digest(text)));
                    scripts.push_str(&format!("<script>{text}</script>\n"));
                }
                Script::Linked(path) => {
                    if !allowed.iter().any(|source| source == "'self'") {
                        allowed.push("'self'".into());
                    }
                    scripts.push_str(&format!("<script src=\"{}\"></script>\n", escape(path)));
                }
            }
        }
        let element =
            |(id, kind, content): &Data<'_>| format!("<script type=\"{kind}\" id=\"{id}\">{content}</script>\n");
        let (data, last): (String, String) =
            (self.data.iter().map(element).collect(), self.last.iter().map(element).collect());
        Ok(format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{}' '{}'; \
             script-src {}; base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <a class=\"skip\" href=\"#main\">Skip to the answer</a>\n<main id=\"main\">\n{}</main>\n{data}{scripts}{last}\
             </body>\n</html>\n",
            digest(STYLE),
            digest(PLOT_STYLE),
            allowed.join(" "),
            escape(self.title),
            self.body,
        ))
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_libraries_are_what_their_packages_ship() {
        let readme = include_str!("vendor/README.md");
        for (name, text) in [("d3.min.js", D3), ("plot.umd.min.js", PLOT)] {
            let sha256: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(readme.contains(&format!("`{name}`")) && readme.contains(&sha256), "{name}: {sha256}");
        }
        assert!(include_str!("vendor/LICENSE.d3").contains("Bostock"));
        assert!(include_str!("vendor/LICENSE.plot").contains("Observable"));
    }

    #[test]
    fn plots_style_is_the_one_the_policy_allows() {
        // The package holds it as a template: line breaks escaped, the class name filled in.
        for piece in PLOT_STYLE.replace('\n', "\\n").split(".plot").filter(|piece| piece.len() > 10) {
            assert!(PLOT.contains(piece), "the library's own style has changed: {piece}");
        }
    }

    #[test]
    fn scripts_cannot_end_early() {
        for text in [D3, PLOT, TABLES, PLOTS, ITEMS, STYLE] {
            assert!(!text.contains("</script") && !text.contains("<!--") && !text.contains('\r'));
        }
    }
}
