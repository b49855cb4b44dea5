//! `tierbench cascade`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::{OutputFormat, Ui};
use crate::decide::cascade::{self, Alone, Item, Ladder, Point, Rated, Rung};
use crate::error::{Error, ExitStatus, Result};
use crate::quality::QualityError;
use crate::quality::log::{LogLine, Signal};
use crate::stats::agreement::auroc;
use crate::stats::bootstrap;
use crate::stats::eprocess::Bar;

/// Would a weak tier with a strong one behind it be cheaper? Answered offline, from `eval --full --log FILE`.
///
/// The weak tier answers; where its confidence is below a threshold the strong tier answers, too. Prints the curve of
/// accuracy and cost over all thresholds beside random deferral, and judges the cascade as one more tier of the log's
/// ladder, all of which share α. The threshold is found by fixed-sequence testing on thresholds fixed before the answers
/// are looked at, so the items need not be split.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Per-item log of both tiers on one task
    log: PathBuf,
    /// The tier that answers first [default: the cheaper one of the log's two]
    #[arg(long, value_name = "TIER")]
    weak: Option<String>,
    /// The tier behind it
    #[arg(long, value_name = "TIER")]
    strong: Option<String>,
    /// Task, if the log holds several
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Share of items that must be solved
    #[arg(long, value_name = "SHARE")]
    bar: f64,
    /// Bound of the chance that a tier or cascade below the bar is called CLEARS
    #[arg(long, default_value_t = 0.05, value_name = "P")]
    alpha: f64,
    /// What the weak tier's certainty is read from: confidence, probability, entropy or brevity
    #[arg(long, default_value = "confidence", value_name = "SIGNAL")]
    signal: Signal,
    /// Price of an hour of engine time; without it costs are seconds
    #[arg(long, value_name = "USD")]
    usd_per_hour: Option<f64>,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Format of the result
    #[arg(short, long, value_parser = OutputFormat::among(&[OutputFormat::Table, OutputFormat::Json]), default_value = "table")]
    output: OutputFormat,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let bar = Bar::new(args.bar).map_err(|error| Error::Usage(format!("--bar {}: {error}", args.bar)))?;
    if !(args.alpha > 0.0 && args.alpha < 1.0) {
        return Err(Error::Usage(format!("--alpha {}: it lies between 0 and 1", args.alpha)));
    }
    if let Some(price) = args.usd_per_hour.filter(|price| !(price.is_finite() && *price > 0.0)) {
        return Err(Error::Usage(format!("--usd-per-hour {price}: it must be above 0")));
    }
    let pair = Pair::new(args, read(&args.log)?)?;
    let items = pair.items(args)?;
    let none = || Error::Usage(format!("{}: the two tiers share no item", args.log.display()));
    let others = pair.others(args);
    let alone: Vec<Alone> = others.iter().map(|&(_, alone)| alone).collect();
    let ladder = Ladder::new(&items, &alone, &cascade::deciles(&items), bar, args.alpha).ok_or_else(none)?;
    let status = if ladder.cheapest().is_some() { ExitStatus::Success } else { ExitStatus::NoTierClears };
    if args.output == OutputFormat::Json {
        ui.line(pair.json(args, &items, &others, &ladder))?;
    } else {
        pair.print(args, &items, &others, &ladder, ui)?;
    }
    Ok(status)
}

/// Lines of a log.
fn read(path: &Path) -> Result<Vec<LogLine>> {
    let io = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let file = BufReader::new(std::fs::File::open(path).map_err(io)?);
    let mut lines = Vec::new();
    for (index, line) in file.lines().enumerate() {
        let line = line.map_err(io)?;
        let parsed = serde_json::from_str(&line).map_err(|error| {
            let reason = format!("no line of a per-item log: {error}; write one with `tierbench eval --full --log`");
            QualityError::Item { path: path.to_owned(), line: index + 1, reason }
        })?;
        lines.push(parsed);
    }
    Ok(lines)
}

/// A tier's lines by item.
type Lines = BTreeMap<String, LogLine>;

/// The lines of two tiers on one task, and of the others beside them.
struct Pair {
    task: String,
    weak: (String, Lines),
    strong: (String, Lines),
    rest: BTreeMap<String, Lines>,
}

impl Pair {
    fn new(args: &Args, mut lines: Vec<LogLine>) -> Result<Self> {
        let usage = |text: String| Error::Usage(format!("{}: {text}", args.log.display()));
        if let Some(task) = &args.task {
            lines.retain(|line| line.task == *task);
        }
        let tasks: BTreeSet<&String> = lines.iter().map(|line| &line.task).collect();
        let task = match tasks.iter().collect::<Vec<_>>().as_slice() {
            [] => return Err(usage("no line of that task".into())),
            [only] => (**only).clone(),
            many => return Err(usage(format!("several tasks ({}): choose one with --task", join(many)))),
        };
        if let Some(other) = lines.iter().find(|line| line.task_sha256 != lines[0].task_sha256) {
            return Err(usage(format!("item {} is of other data than the first line: do not mix logs", other.item)));
        }
        let mut tiers: BTreeMap<String, Lines> = BTreeMap::new();
        for line in lines {
            tiers.entry(line.tier.clone()).or_default().insert(line.item.clone(), line);
        }
        let known = join(&tiers.keys().collect::<Vec<_>>());
        let find = |wanted: &str| {
            let exact = tiers.keys().find(|name| *name == wanted);
            let mut like = tiers.keys().filter(|name| name.contains(wanted));
            match (exact, like.next(), like.next()) {
                (Some(name), ..) | (None, Some(name), None) => Ok(name.clone()),
                (None, Some(_), Some(_)) => Err(usage(format!("`{wanted}` is several tiers: there are {known}"))),
                (None, None, _) => Err(usage(format!("no tier `{wanted}`: there are {known}"))),
            }
        };
        let (weak, strong) = match (&args.weak, &args.strong) {
            (Some(weak), Some(strong)) => (find(weak)?, find(strong)?),
            (weak, strong) => {
                let two: Vec<String> = tiers.keys().cloned().collect();
                let [a, b] = two.as_slice() else {
                    return Err(usage(format!("name two tiers with --weak and --strong: there are {known}")));
                };
                let cost =
                    |name: &String| tiers[name].values().map(|line| line.ms).sum::<f64>() / tiers[name].len() as f64;
                let (cheap, dear) = if cost(a) <= cost(b) { (a, b) } else { (b, a) };
                let other = |one: &String| if one == a { b.clone() } else { a.clone() };
                match (weak, strong) {
                    (Some(weak), _) => find(weak).map(|weak| (weak.clone(), other(&weak)))?,
                    (_, Some(strong)) => find(strong).map(|strong| (other(&strong), strong.clone()))?,
                    _ => (cheap.clone(), dear.clone()),
                }
            }
        };
        if weak == strong {
            return Err(usage(format!("--weak and --strong are both {weak}")));
        }
        let mut take = |name: String| {
            let lines = tiers.remove(&name).unwrap_or_default();
            (name, lines)
        };
        Ok(Self { task, weak: take(weak), strong: take(strong), rest: tiers })
    }

    /// The other tiers of the log that answered every item both tiers did, each alone, by name. One that stopped earlier
    /// cannot be judged by the same test: when it stopped depended on its answers.
    fn others(&self, args: &Args) -> Vec<(&str, Alone)> {
        let shared: Vec<&String> = self.weak.1.keys().filter(|id| self.strong.1.contains_key(*id)).collect();
        let alone = |lines: &Lines| {
            let answers: Option<Vec<(bool, f64)>> =
                shared.iter().map(|id| lines.get(*id).map(|line| (line.pass, line.ms))).collect();
            let answers = answers?;
            let cost = answers.iter().map(|(_, ms)| ms * per_ms(args)).sum::<f64>() / answers.len().max(1) as f64;
            Some(Alone { passes: answers.iter().filter(|(pass, _)| *pass).count() as u64, cost })
        };
        self.rest.iter().filter_map(|(name, lines)| Some((name.as_str(), alone(lines)?))).collect()
    }

    /// How a rung is called in the answer.
    fn name<'a>(rung: Rung, others: &[(&'a str, Alone)]) -> &'a str {
        match rung {
            Rung::Weak => "weak",
            Rung::Cascade => "cascade",
            Rung::Strong => "strong",
            Rung::Other(i) => others.get(i).map_or("", |(name, _)| name),
        }
    }

    /// Items both tiers answered, in the order of their ids.
    fn items(&self, args: &Args) -> Result<Vec<Item>> {
        let per_ms = per_ms(args);
        let mut items = Vec::new();
        for (id, weak) in &self.weak.1 {
            let Some(strong) = self.strong.1.get(id) else { continue };
            let confidence = args.signal.of(weak).ok_or_else(|| {
                let signal = args.signal.name();
                Error::Usage(format!("item {id} has no {signal} in the log: choose another --signal"))
            })?;
            items.push(Item {
                confidence,
                weak_pass: weak.pass,
                strong_pass: strong.pass,
                weak_cost: weak.ms * per_ms,
                strong_cost: strong.ms * per_ms,
            });
        }
        Ok(items)
    }

    /// How well each signal tells the weak tier's passes from its fails.
    fn signals(&self) -> Vec<(&'static str, Option<f64>)> {
        let both: Vec<&LogLine> =
            self.weak.1.iter().filter(|(id, _)| self.strong.1.contains_key(*id)).map(|(_, l)| l).collect();
        let passes: Vec<bool> = both.iter().map(|line| line.pass).collect();
        Signal::ALL
            .into_iter()
            .map(|signal| {
                let values: Option<Vec<f64>> = both.iter().map(|line| signal.of(line)).collect();
                (signal.name(), values.and_then(|values| auroc(&values, &passes)))
            })
            .collect()
    }

    fn json(&self, args: &Args, items: &[Item], others: &[(&str, Alone)], ladder: &Ladder) -> Value {
        let point = |point: &Point| {
            json!({
                // Infinities are no JSON: null is "no threshold", the tier alone.
                "threshold": point.threshold.is_finite().then_some(point.threshold),
                "accuracy": point.accuracy,
                "cost": point.cost,
                "deferral": point.deferral,
                "random_accuracy": cascade::random_deferral(items, point.cost),
            })
        };
        let rated = |name: &str, rated: &Rated| {
            let mut value = point(&rated.point);
            let threshold = (name == "cascade").then_some(rated.point.threshold);
            let interval = threshold.and_then(|t| cost_interval(items, t, args.seed));
            let more = json!({
                "tier": name,
                "cost_interval": interval.map(|(lo, hi)| [lo, hi]),
                "cost_per_solved": rated.cost_per_solved,
                "p_value": rated.p_value,
                "clears": rated.clears,
            });
            if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
                value.extend(more);
                if name != "cascade" {
                    value.remove("random_accuracy");
                }
            }
            value
        };
        let cascade = ladder.cascade.as_ref();
        json!({
            "task": self.task,
            "weak": self.weak.0,
            "strong": self.strong.0,
            "items": items.len(),
            "bar": args.bar,
            "alpha": args.alpha,
            "tiers_sharing_alpha": ladder.family(),
            "signal": args.signal.name(),
            "auroc": self.signals().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect::<serde_json::Map<_, _>>(),
            "cost_unit": if args.usd_per_hour.is_some() { "usd" } else { "s" },
            "weak_alone": rated("weak", &ladder.weak),
            "cascade": cascade.map(|c| rated("cascade", c)),
            "strong_alone": rated("strong", &ladder.strong),
            "others_alone": others.iter().zip(&ladder.others).map(|((name, _), alone)| rated(name, alone)).collect::<Vec<_>>(),
            "worth_it": cascade.map(|c| cascade::is_worth_it(items, &c.point)),
            "gain": cascade.and_then(|c| cascade::gain(items, &c.point)),
            "cheapest": ladder.cheapest().map(|rung| Self::name(rung, others)),
            "curve": cascade::curve(items).iter().map(point).collect::<Vec<_>>(),
        })
    }

    fn print(&self, args: &Args, items: &[Item], others: &[(&str, Alone)], ladder: &Ladder, ui: &Ui) -> Result<()> {
        let unit = if args.usd_per_hour.is_some() { "$" } else { "s" };
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header([
            "",
            "solved",
            "random deferral",
            "deferred",
            &format!("{unit} per item"),
            &format!("{unit} per solved"),
            "p",
            "verdict",
        ]);
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let mut add = |name: String, point: &Point, rated: Option<&Rated>, mixed: bool| {
            let random = mixed.then(|| cascade::random_deferral(items, point.cost)).flatten();
            let solved = (point.accuracy > 0.0).then(|| point.cost / point.accuracy);
            let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
            table.add_row([
                Cell::new(name),
                right(percent(point.accuracy)),
                right(random.map_or("—".into(), percent)),
                right(if mixed { percent(point.deferral) } else { "—".into() }),
                right(format!("{:.4}", Short(point.cost))),
                right(solved.map_or("—".into(), |cost| format!("{:.4}", Short(cost)))),
                right(rated.map_or(String::new(), |r| format!("{:.4}", r.p_value))),
                Cell::new(rated.map_or("", |r| if r.clears { "CLEARS" } else { "not shown" })),
            ]);
        };
        add(format!("weak: {}", self.weak.0), &ladder.weak.point, Some(&ladder.weak), false);
        for threshold in cascade::deciles(items).into_iter().skip(1) {
            if let Some(point) = cascade::evaluate(items, threshold) {
                let chosen = ladder.cascade.filter(|rated| rated.point.threshold == threshold);
                let mark = if chosen.is_some() { " ← chosen" } else { "" };
                add(format!("  defer below {threshold:.3}{mark}"), &point, chosen.as_ref(), true);
            }
        }
        add(format!("strong: {}", self.strong.0), &ladder.strong.point, Some(&ladder.strong), false);
        for ((name, _), rated) in others.iter().zip(&ladder.others) {
            add(format!("alone: {name}"), &rated.point, Some(rated), false);
        }
        ui.line(table)?;
        let left: Vec<&String> =
            self.rest.keys().filter(|name| others.iter().all(|(other, _)| other != name)).collect();
        if !left.is_empty() {
            ui.line(format_args!(
                "Left out, stopped before the last item: {}. Log them with `eval --full`.",
                join(&left)
            ))?;
        }
        let signals: Vec<String> =
            self.signals().into_iter().filter_map(|(name, value)| Some(format!("{name} {:.3}", value?))).collect();
        ui.line(format_args!(
            "{} on {} items both tiers answered. How well the weak tier's certainty tells right from wrong (AUROC, 0.5 is \
             chance): {}.",
            self.task,
            items.len(),
            if signals.is_empty() { "—".to_owned() } else { signals.join(", ") }
        ))?;
        let percent = |share: f64| format!("{} %", (share * 1e4).round() / 1e2);
        ui.line(format_args!(
            "CLEARS: were its true pass rate {} or less, this would be said of any of the {family} with probability at most {} \
             (exact binomial tests at α/{family}; the cascade's threshold by fixed-sequence testing).",
            percent(args.bar),
            percent(args.alpha),
            family = ladder.family(),
        ))?;
        match (&ladder.cascade, ladder.cheapest().map(|rung| Self::name(rung, others))) {
            (_, None) => ui.line("None of them is shown to clear the bar."),
            (Some(rated), Some(name)) => {
                let worth = cascade::is_worth_it(items, &rated.point);
                let interval = cost_interval(items, rated.point.threshold, args.seed)
                    .map_or_else(String::new, |(lo, hi)| format!(" [{:.4}, {:.4}]", Short(lo), Short(hi)));
                ui.line(format_args!(
                    "Cheapest per solved item that clears: {name}. The cascade defers {}, costs {:.4} {unit} per item{interval} and {} \
                     the strong tier alone.",
                    percent(rated.point.deferral),
                    Short(rated.point.cost),
                    if worth { "costs less than" } else { "saves nothing against" }
                ))
            }
            (None, Some(name)) => ui.line(format_args!(
                "Cheapest per solved item that clears: {name}. No cascade of the two is shown to clear the bar."
            )),
        }
    }
}

/// Cost of a millisecond of engine time, $ or seconds.
fn per_ms(args: &Args) -> f64 {
    args.usd_per_hour.map_or(1e-3, |price| price / 3.6e6)
}

/// 95 % bootstrap interval of a cascade's cost per item.
fn cost_interval(items: &[Item], threshold: f64, seed: u64) -> Option<(f64, f64)> {
    let costs: Vec<f64> = items
        .iter()
        .map(|item| item.weak_cost + if item.confidence < threshold { item.strong_cost } else { 0.0 })
        .collect();
    bootstrap::mean_interval(&costs, 0.95, seed).map(|interval| (interval.lo, interval.hi))
}

fn join<T: std::fmt::Display>(names: &[T]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A cost in as many digits as tell it apart, whatever its size.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 != 0.0 && self.0.abs() < 0.01 { write!(f, "{:.3e}", self.0) } else { self.0.fmt(f) }
    }
}
