//! Reports, splices, exports and the history through the binary.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod example;

use std::path::Path;

use example::{TASK, raw, record, tierbench, write};
use tierbench::report::{Format as _, html::Html, markdown::Markdown};
use tierbench::store::cell::{Cell, Outcome};
use tierbench::store::derived::AnswerOutcome;
use tierbench::store::history::History;
use tierbench::store::record::Record;

fn stdout(command: &mut assert_cmd::Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn example(dir: &Path) -> std::path::PathBuf {
    write(dir, "record.json", &serde_json::to_value(record()).unwrap())
}

#[test]
fn the_terminal_table_shows_answer_ladder_and_assumptions() {
    let dir = tempfile::tempdir().unwrap();
    let text = stdout(tierbench(dir.path()).arg("report").arg(example(dir.path())));
    insta::assert_snapshot!(text);
}

#[test]
fn the_markdown_table_shows_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let text = stdout(tierbench(dir.path()).args(["report", "-o", "md"]).arg(example(dir.path())));
    insta::assert_snapshot!(text);
}

#[test]
fn tiers_beside_the_cheapest_are_named_by_what_differs() {
    let mut raw = raw();
    let AnswerOutcome::Cheapest { tier: winner, .. } = record().derived.answers[0].outcome.clone() else {
        panic!("the example has an answer");
    };
    let mut twin = raw.tiers.iter().find(|facts| facts.key == winner).unwrap().clone();
    twin.tier.level = Some("q5_1".into());
    twin.key = twin.tier.key();
    let cells: Vec<Cell> = raw.cells.iter().filter(|cell| cell.tier == winner).cloned().collect();
    raw.cells.extend(cells.into_iter().map(|cell| Cell { tier: twin.key.clone(), ..cell }));
    raw.tiers.push(twin);
    let text = Markdown.render(&Record::from_raw(raw).unwrap()).unwrap();
    assert!(text.contains("Its cost is a tie with q5_1."), "{text}");
}

/// The example without cost on the tiers whose key contains one of `uncosted`; of q8_0 the first `q8_0` items.
fn partly_costed(uncosted: &[&str], q8_0: usize) -> Record {
    let mut raw = raw();
    for cell in &mut raw.cells {
        let Outcome::Task(results) = &mut cell.outcome else { continue };
        if cell.tier.0.contains("q8_0") {
            results.items.truncate(q8_0);
        }
        if uncosted.iter().any(|level| cell.tier.0.contains(level)) {
            results.energy.clear();
            results.items.iter_mut().for_each(|item| item.elapsed_ns = 0);
        }
    }
    Record::from_raw(raw).unwrap()
}

#[test]
fn no_tier_is_the_cheapest_or_cheaper_where_no_cost_is_known() {
    let all = ["q8_0", "q4_1", "q2_k"];
    let bar = "support_tickets at pass rate ≥ 0.75 with 95 % confidence";
    for (uncosted, q8_0, expected) in [
        (&all[..], 10, format!("q4_1 native cpu t2 clears {bar}: pass rate 90.0 %")),
        (&all, 10, "so no tier is the cheapest. Undecided within the budget: q8_0.**".to_owned()),
        (
            &all,
            150,
            format!(
                "These tiers clear {bar}: q8_0, q4_1. No cost of a solved item is known, so no tier is the cheapest.**"
            ),
        ),
        (&["q8_0", "q4_1"], 150, "q4_1. Their costs are not known, so no tier is the cheapest.**".to_owned()),
        (&["q4_1"], 10, "Its cost is not known, so no tier is the cheapest. Undecided".to_owned()),
    ] {
        let record = partly_costed(uncosted, q8_0);
        let text = Markdown.render(&record).unwrap();
        assert!(text.contains(&expected) && !text.contains("heaper but"), "{expected}: {text}");
        assert!(!text.contains("← cheapest"), "{text}");
        let page = Html.render(&record).unwrap();
        assert!(!page.contains("<tr class=\"best\">"), "no row is tinted: {uncosted:?}");
    }
    assert!(Html.render(&record()).unwrap().contains("<tr class=\"best\">"));
    let text = Markdown.render(&partly_costed(&["q8_0"], 150)).unwrap();
    assert!(text.contains("← cheapest") && text.contains("The cheapest tier that clears"), "{text}");
}

#[test]
fn a_narrow_terminal_never_gets_a_line_it_must_wrap() {
    let dir = tempfile::tempdir().unwrap();
    let text = stdout(tierbench(dir.path()).env("COLUMNS", "60").arg("report").arg(example(dir.path())));
    let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(longest <= 64, "{longest}: {text}");
    assert!(text.contains("failed") && text.contains("(requantized from q4_1)"), "{text}");
}

#[test]
fn csv_has_one_row_per_cell_with_unrounded_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let text = stdout(tierbench(dir.path()).args(["report", "-o", "csv"]).arg(example(dir.path())));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|h| h == name).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), raw().cells.len());
    let decode = rows.iter().find(|row| &row[column("cell")] == "tg128" && &row[column("level")] == "q4_1").unwrap();
    assert_eq!(&decode[column("tok_per_s")], "128");
    assert!(decode[column("usd_per_mtok")].parse::<f64>().unwrap() > 0.0);
    let failed = rows.iter().find(|row| !row[column("error")].is_empty()).unwrap();
    assert!(failed[column("tok_per_s")].is_empty(), "unknown is empty, not 0");
    let task = rows.iter().find(|row| &row[column("cell")] == TASK).unwrap();
    assert_eq!(&task[column("verdict")], "CLEARS");
}

#[test]
fn json_is_the_record_and_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("copy.json");
    tierbench(dir.path()).args(["report", "-o", "json", "--to"]).arg(&out).arg(example(dir.path())).assert().success();
    tierbench(dir.path()).arg("verify").arg(&out).assert().success();
}

#[test]
fn hostile_names_cannot_reach_the_terminal_or_the_page() {
    let mut raw = raw();
    let old = raw.tiers[0].key.clone();
    let evil = tierbench::plan::TierKey("\x1b[2J\u{202e}|<script>alert(1)</script>".into());
    raw.tiers[0].key = evil.clone();
    for cell in raw.cells.iter_mut().filter(|cell| cell.tier == old) {
        cell.tier = evil.clone();
    }
    raw.warnings.push("=cmd()\nsecond line".into());
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "evil.json", &serde_json::to_value(Record::from_raw(raw).unwrap()).unwrap());
    for format in ["table", "md", "csv", "html"] {
        let text = stdout(tierbench(dir.path()).args(["report", "-o", format]).arg(&path));
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{format}: {text}");
        assert!(!matches!(format, "md" | "html") || !text.contains("<script>alert"), "{text}");
    }
}

#[test]
fn the_page_is_self_contained_and_allows_only_its_own_script() {
    let dir = tempfile::tempdir().unwrap();
    let page = stdout(tierbench(dir.path()).args(["report", "-o", "html"]).arg(example(dir.path())));
    let policy = "default-src 'none'; style-src 'sha256-";
    assert!(page.contains(policy) && !page.contains("unsafe-") && !page.contains("'self'"), "nothing is fetched");
    for element in ["<script src", "<link", "<img", "<iframe", "@import", "url("] {
        let own = page.split("<script").filter(|part| !part.contains("Copyright")).collect::<String>();
        assert!(!own.contains(element.trim_start_matches("<script")), "{element}");
    }
    // The record in the page is the record.
    let start = page.find("id=\"record\">").unwrap() + "id=\"record\">".len();
    let packed = &page[start..start + page[start..].find("</script>").unwrap()];
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, packed).unwrap();
    let read: Record = serde_json::from_reader(flate2::read::GzDecoder::new(bytes.as_slice())).unwrap();
    assert_eq!(read, record());
}

#[test]
fn a_report_of_numbers_that_do_not_verify_warns() {
    let dir = tempfile::tempdir().unwrap();
    let mut value = serde_json::to_value(record()).unwrap();
    value["derived"]["speed"][0]["median"] = serde_json::json!(1e9);
    let path = write(dir.path(), "forged.json", &value);
    let output = tierbench(dir.path()).arg("report").arg(path).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("does not verify: derived.speed[0].median"), "{err}");
}

#[test]
fn splicing_a_readme_twice_changes_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let readme = dir.path().join("README.md");
    std::fs::write(&readme, "# T\n\n<!-- BEGIN tierbench -->\n<!-- END tierbench -->\n\nrest\n").unwrap();
    let record = example(dir.path());
    let splice = || {
        tierbench(dir.path()).arg("report").arg(&record).arg("--splice").arg(&readme).assert().success();
        std::fs::read_to_string(&readme).unwrap()
    };
    let once = splice();
    assert!(once.contains("Made by `tierbench report record.json --splice README.md`"), "{once}");
    assert!(once.starts_with("# T\n") && once.ends_with("\n\nrest\n") && once.contains("| tier |"), "{once}");
    assert_eq!(splice(), once);
    std::fs::write(&readme, "no markers").unwrap();
    let output = tierbench(dir.path()).arg("report").arg(&record).arg("--splice").arg(&readme).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && err.contains("no tierbench markers"), "{err}");
    assert_eq!(std::fs::read_to_string(&readme).unwrap(), "no markers");
}

#[test]
fn a_run_is_listed_shown_reported_exported_removed_and_imported_again() {
    let dir = tempfile::tempdir().unwrap();
    let record = record();
    let id = {
        let mut history = History::open(dir.path()).unwrap();
        let run = history.open_run("plan", "smollm2 ladder", false).unwrap();
        let mut raw = record.raw.clone();
        raw.run.id.clone_from(&run.id);
        history.save_header(&run, &raw).unwrap();
        for cell in &raw.cells {
            history.commit_cell(&run, cell).unwrap();
        }
        // As after a kill: the record is made from header and cells.
        let interrupted = history.record(&run.id).unwrap();
        assert!(interrupted.raw.run.interrupted && interrupted.derived.answers == record.derived.answers);
        history.finish_run(&run, &Record::from_raw(raw).unwrap()).unwrap();
        assert!(!history.record(&run.id).unwrap().raw.run.interrupted);
        run.id.clone()
    };
    let list = stdout(tierbench(dir.path()).arg("history"));
    assert!(list.contains(&id) && list.contains("finished") && list.contains("smollm2 ladder"), "{list}");
    let shown = stdout(tierbench(dir.path()).args(["history", "show", "latest"]));
    assert!(shown.contains("135 of 150 items passed") && shown.contains("failed: the model produced NaN"), "{shown}");
    let report = stdout(tierbench(dir.path()).arg("report"));
    assert!(report.contains("The cheapest tier that clears support_tickets"), "{report}");

    let items = stdout(tierbench(dir.path()).args(["export", "-o", "jsonl"]));
    assert_eq!(items.lines().count(), 150 + 150 + 60);
    let trials = stdout(tierbench(dir.path()).args(["export", &id, "-o", "csv", "--rows", "trials"]));
    assert_eq!(trials.lines().count(), 1 + 5 * 5);

    let all = stdout(tierbench(dir.path()).args(["export", "--all"]));
    let backup = dir.path().join("all.jsonl");
    std::fs::write(&backup, &all).unwrap();
    tierbench(dir.path()).args(["history", "rm", &id]).assert().success();
    assert!(stdout(tierbench(dir.path()).arg("history")).contains("No runs yet"));
    let twice = || tierbench(dir.path()).args(["history", "import"]).arg(&backup).assert().success();
    twice().stderr(predicates::str::contains("1 record added, 0 already there"));
    twice().stderr(predicates::str::contains("0 records added, 1 already there"));
    let mut other = record.raw.clone();
    other.run.id.clone_from(&id);
    other.warnings.push("another content".into());
    let other = write(dir.path(), "other.json", &serde_json::to_value(Record::from_raw(other).unwrap()).unwrap());
    let refused = tierbench(dir.path()).args(["history", "import"]).arg(other).assert().code(1);
    refused.stderr(predicates::str::contains("is stored with other content"));
    assert!(stdout(tierbench(dir.path()).args(["report", &id])).contains("The cheapest tier"));
    std::fs::write(&backup, all.replace("\"passes\":135", "\"passes\":149")).unwrap();
    tierbench(dir.path()).args(["history", "import"]).arg(&backup).assert().code(6);
}

#[test]
fn an_empty_history_and_an_unknown_run_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    let site = site.to_str().unwrap();
    for (args, code, why) in [
        (vec!["report"], 2, "the history has no run yet: `tierbench run` makes one"),
        (vec!["report", "--site", site, "latest"], 2, "the history has no run yet: `tierbench run` makes one"),
        (vec!["history", "rm", "latest"], 2, "the history has no run yet: `tierbench run` makes one"),
        (vec!["report", "machine:"], 2, "names no machine"),
        (vec!["report", "machine:Xeon"], 2, "the history has no run yet: `tierbench run` makes one"),
        (vec!["report", "20990101"], 1, "no run `20990101`"),
        (vec!["history", "list", "-o", "csv"], 2, "csv"),
        (vec!["history", "import", "/nonexistent.jsonl"], 1, "/nonexistent.jsonl"),
    ] {
        let output = tierbench(dir.path()).args(&args).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
        assert!(err.contains(why), "{args:?}: {err}");
        assert!(err.lines().count() == 1 || err.contains("possible values: table, md, json]"), "{args:?}: {err}");
    }
}

#[test]
fn a_run_whose_cells_nothing_describes_is_named_and_never_the_latest() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    let mut raw = raw();
    raw.host.cpu = None;
    assert!(history.import(&Record::from_raw(raw.clone()).unwrap(), "whole").unwrap());
    let run = history.open_run("plan", "killed before it stored what it ran on", false).unwrap();
    history.commit_cell(&run, &raw.cells[0]).unwrap();
    let broken = run.id.clone();
    drop((run, history));
    assert_eq!(stdout(tierbench(dir.path()).args(["export", "latest"])).matches(&raw.run.id).count(), 1);
    let list = stdout(tierbench(dir.path()).arg("history"));
    assert!(list.lines().any(|line| line.contains(&broken) && line.contains("broken")), "{list}");
    let shown = stdout(tierbench(dir.path()).args(["history", "show", &broken]));
    let advice = format!("`tierbench history rm {broken}` removes it");
    assert!(!shown.contains("tierbench report") && shown.contains(&advice), "{shown}");
    let says = |args: &[&str], code: i32| {
        let output = tierbench(dir.path()).arg("--quiet").args(args).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && err.lines().count() == 1, "{args:?}: {err}");
        (String::from_utf8(output.stdout).unwrap(), err)
    };
    assert!(says(&["report", &broken], 2).1.contains(&advice));
    let (all, err) = says(&["export", "--all"], 5);
    assert!(all.lines().count() == 1 && err.contains(&format!("left out run {broken}")), "{err}");
    // Nobody knows on which processor the other one ran: no list of names that ends in nothing.
    assert!(says(&["report", "machine:Xeon"], 2).1.contains("no stored run tells its machine"));
}

#[test]
fn latex_jsonl_and_the_card_hold_the_same_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = example(dir.path());
    let render = |format: &str| stdout(tierbench(dir.path()).args(["report", "-o", format]).arg(&path));
    let latex = render("latex");
    assert!(latex.contains("\\toprule") && latex.contains("\\bottomrule"), "{latex}");
    assert!(latex.contains("support\\_tickets") && latex.contains("$\\pm$") && latex.contains(" & CLEARS"), "{latex}");
    assert_eq!(latex.matches("\\begin{table}").count(), latex.matches("\\end{table}").count());
    let rows: Vec<serde_json::Value> =
        render("jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), raw().cells.len());
    let header = render("csv").lines().next().unwrap().to_owned();
    let names: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, header.split(',').collect::<Vec<_>>(), "the columns of the CSV");
    assert!(rows[0]["pass_rate"].is_null() && rows[0]["tok_per_s"].is_f64(), "{}", rows[0]);
    let card = render("svg");
    assert!(card.starts_with("<svg xmlns=") && card.contains("CLEARS") && !card.contains("<script"), "{card}");
    assert!(card.contains("q4_1") && card.contains("prefers-color-scheme:dark"));
    let (opened, closed) = (card.matches("<text ").count(), card.matches("</text>").count());
    assert_eq!(opened, closed);
}

#[test]
fn a_site_of_nothing_and_of_a_broken_file_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (site, empty) = (dir.path().join("site"), dir.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    let output = tierbench(dir.path()).args(["report", "--site"]).arg(&site).arg(&empty).output().unwrap();
    assert!(output.status.code() == Some(2) && String::from_utf8_lossy(&output.stderr).contains("no record"));
    std::fs::write(empty.join("broken.json"), "{\"schema\": \"tierbench.rec").unwrap();
    write(&empty, "good.json", &serde_json::to_value(record()).unwrap());
    let output = tierbench(dir.path()).args(["report", "--site"]).arg(&site).arg(&empty).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(5) && err.contains("broken.json") && err.contains("not complete JSON"),
        "{err}"
    );
    let page = std::fs::read_to_string(site.join("index.html")).unwrap();
    assert!(page.contains("Left out") && page.contains("broken.json"), "nothing is lost silently");
    assert_eq!(
        std::fs::read(empty.join("good.json")).unwrap(),
        std::fs::read(site.join("records/20260821-140500-3fa9c1.json")).unwrap()
    );
    // Built again, nothing is recomputed: the page stays the file it was, and a damaged cache is only a slow start.
    let record_page = site.join("records/20260821-140500-3fa9c1.html");
    let again = || {
        tierbench(dir.path()).args(["report", "--site"]).arg(&site).arg(&empty).assert().code(5);
        (std::fs::read_to_string(site.join("index.html")).unwrap(), std::fs::read_to_string(&record_page).unwrap())
    };
    let first = again();
    std::fs::write(&record_page, "as it was").unwrap();
    assert_eq!(again(), (first.0.clone(), "as it was".into()));
    std::fs::write(site.join("cache.json"), "{").unwrap();
    assert_eq!(again(), first);
    let two = tierbench(dir.path()).arg("report").args(["a.json", "b.json"]).output().unwrap();
    assert!(two.status.code() == Some(2) && String::from_utf8_lossy(&two.stderr).contains("--site"));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_build_without_parquet_says_how_to_get_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = example(dir.path());
    for arguments in [["report", "-o", "parquet"], ["export", "-o", "parquet"]] {
        let output = tierbench(dir.path()).args(arguments).arg(&path).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && errors.contains("--features parquet"), "{errors}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_holds_the_rows_with_typed_columns() {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    let dir = tempfile::tempdir().unwrap();
    let path = example(dir.path());
    let bytes = |arguments: &[&str]| {
        let output = tierbench(dir.path()).args(arguments).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        SerializedFileReader::new(bytes::Bytes::from(output.stdout)).unwrap()
    };
    let columns = |reader: &SerializedFileReader<bytes::Bytes>| -> Vec<String> {
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        schema.columns().iter().map(|column| format!("{} {}", column.name(), column.physical_type())).collect()
    };
    let cells = bytes(&["report", "-o", "parquet"]);
    assert_eq!(cells.metadata().file_metadata().num_rows(), raw().cells.len() as i64);
    let typed = columns(&cells);
    for column in ["tier BYTE_ARRAY", "n_threads INT64", "tok_per_s DOUBLE", "passes INT64", "error BYTE_ARRAY"] {
        assert!(typed.iter().any(|known| known == column), "{column} in {typed:?}");
    }
    let items = bytes(&["export", "-o", "parquet"]);
    assert_eq!(items.metadata().file_metadata().num_rows(), 150 + 150 + 60);
    let passes =
        items.get_row_iter(None).unwrap().filter(|row| row.as_ref().unwrap().to_string().contains("pass: true"));
    assert_eq!(passes.count(), 135 + 135 + 24);
    let trials = bytes(&["export", "-o", "parquet", "--rows", "trials"]);
    assert_eq!(trials.metadata().file_metadata().num_rows(), 5 * 5);
    assert!(columns(&trials).contains(&"elapsed_ns INT64".to_owned()));
}

#[test]
fn a_site_prefers_what_verifies_and_never_empties_itself() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    let folder = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let genuine = serde_json::to_value(record()).unwrap();
    let mut forged = genuine.clone();
    forged["derived"]["speed"][0]["median"] = serde_json::json!(1e9);
    let build = |from: &[&Path], code: i32| {
        let run = tierbench(dir.path()).args(["report", "--site"]).arg(&site).args(from).assert().code(code);
        String::from_utf8_lossy(&run.get_output().stderr).into_owned()
    };
    let index =
        || -> serde_json::Value { serde_json::from_slice(&std::fs::read(site.join("index.json")).unwrap()).unwrap() };
    let copy = site.join("records/20260821-140500-3fa9c1.json");
    // The forged copy states the genuine one's hash and comes first: it is named and the genuine one stands.
    let both = folder("both");
    write(&both, "a-forged.json", &forged);
    let good = write(&both, "b-good.json", &genuine);
    std::fs::write(both.join("b-good.json.minisig"), "untrusted comment: x").unwrap();
    let said = build(&[&both], 5);
    assert!(said.contains("a-forged.json") && said.contains("does not verify: derived.speed[0].median"), "{said}");
    let records = index()["records"].clone();
    assert_eq!((records.as_array().unwrap().len(), &records[0]["verified"]), (1, &serde_json::json!(true)));
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(&good).unwrap());
    assert_eq!(records[0]["signature"], "20260821-140500-3fa9c1.json.minisig");
    assert!(copy.with_extension("json.minisig").is_file());
    // A typing error leaves the site as it was; a site among its own sources is no record.
    let before = std::fs::read(site.join("index.json")).unwrap();
    let said = build(&[Path::new("no/such.json")], 2);
    assert!(said.contains("no/such.json") && said.contains("as it was"), "{said}");
    assert_eq!(std::fs::read(site.join("index.json")).unwrap(), before);
    std::fs::copy(&good, site.join("mine.json")).unwrap();
    assert!(!build(&[&site], 0).contains("left out"));
    // Forged again, alone: listed, not ranked, without the signature; then another record takes its place.
    let alone = folder("alone");
    write(&alone, "forged.json", &forged);
    assert!(build(&[&alone], 0).contains("listed but not ranked: does not verify"));
    assert!(!copy.with_extension("json.minisig").exists());
    let mut raw = raw();
    raw.run.id = "another".into();
    let other = folder("other");
    write(&other, "other.json", &serde_json::to_value(Record::from_raw(raw).unwrap()).unwrap());
    build(&[&other], 0);
    assert!(!copy.exists() && !copy.with_extension("html").exists(), "what is not on the site is not published");
    assert!(site.join("records/another.html").is_file());
}

#[test]
fn a_site_ranks_what_clears_one_bar_at_one_tariff() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("records");
    std::fs::create_dir(&folder).unwrap();
    let submit = |name: &str, change: &dyn Fn(&mut tierbench::store::record::RawRecord)| {
        let mut raw = raw();
        raw.run.id = name.into();
        change(&mut raw);
        write(&folder, &format!("{name}.json"), &serde_json::to_value(Record::from_raw(raw).unwrap()).unwrap());
    };
    submit("one", &|_| ());
    submit("dear", &|raw| raw.cost.tariff.value.0 = 9.0);
    submit("strict", &|raw| raw.tasks[0].rule.bar = tierbench::stats::eprocess::Bar::new(0.9).unwrap());
    let site = dir.path().join("site");
    tierbench(dir.path()).args(["report", "--site"]).args([&site, &folder]).assert().success();
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(site.join("index.json")).unwrap()).unwrap();
    let groups = index["quality"].as_array().unwrap();
    assert_eq!(groups.len(), 3, "{groups:?}");
    let reasons: Vec<String> = groups.iter().map(|group| group["apart"].to_string()).collect();
    assert!(reasons.iter().all(|reason| reason.contains("bar") || reason.contains("prices")), "{reasons:?}");
    for row in groups.iter().flat_map(|group| group["rows"].as_array().unwrap()) {
        assert!(row["rank"].is_null() || row["verdict"] == "CLEARS", "{row}");
    }
}

#[test]
fn a_site_states_no_tariff_where_nothing_was_priced() {
    let dir = tempfile::tempdir().unwrap();
    let mut raw = raw();
    raw.cells.retain(|cell| matches!(cell.outcome, Outcome::Task(_)));
    for cell in &mut raw.cells {
        let Outcome::Task(results) = &mut cell.outcome else { continue };
        results.energy.clear();
        results.items.iter_mut().for_each(|item| item.elapsed_ns = 0);
    }
    let record = write(dir.path(), "untimed.json", &serde_json::to_value(Record::from_raw(raw).unwrap()).unwrap());
    let site = dir.path().join("site");
    tierbench(dir.path()).args(["report", "--site"]).args([&site, &record]).assert().success();
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(site.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["quality"][0]["prices"], "no cost known");
    assert_eq!(index["records"][0]["prices"], "no cost known");
    assert!(!std::fs::read_to_string(site.join("index.html")).unwrap().contains("$/kWh"));

    let mut timed = example::raw();
    timed.run.id = "20260821-140506-timed".into();
    let timed = write(dir.path(), "timed.json", &serde_json::to_value(Record::from_raw(timed).unwrap()).unwrap());
    tierbench(dir.path()).args(["report", "--site"]).args([&site, &record, &timed]).assert().success();
    let page = std::fs::read_to_string(site.join("index.html")).unwrap();
    for known in ["here", "there"] {
        let why = format!("Not ranked with another table of {TASK}: costs are known only {known}.");
        assert!(page.contains(&why), "{why}");
    }
}
