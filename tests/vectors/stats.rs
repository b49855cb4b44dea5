//! `stats.json`: statistics, sequential verdicts, cascades, fidelity.

use tierbench::decide::cascade;
use tierbench::stats::bootstrap::{self, SplitMix64};
use tierbench::stats::compare::{self, NonInferiority};
use tierbench::stats::eprocess::{self, Bar, ScoreProcess};
use tierbench::stats::sequential::{self, Boundaries, Operation, Rule, Sprt};
use tierbench::stats::{agreement, binomial, cluster, distribution, fidelity, quantile, rouge, sampling, suite};

use crate::harness::{Got, Vector, formulas};

fn bar(v: &Vector, name: &str) -> Bar {
    Bar::new(v.number(name)).unwrap()
}

/// The level whose two-sided normal quantile is the vector's z.
fn level(v: &Vector) -> f64 {
    assert!((distribution::normal_quantile(0.975).unwrap() - v.number("z")).abs() < 1e-12);
    0.95
}

fn operation(v: &Vector, o: Operation) {
    v.expect(&[("p_clears", o.p_clears.into()), ("p_fails", o.p_fails.into()), ("mean_items", o.mean_items.into())]);
}

/// Exact behaviour of a rule at the vector's pass rate, looked at after every item up to the cap.
fn operate(v: &Vector, rule: Rule) {
    let p = v.number("p");
    operation(v, Boundaries::of(&rule, v.count("cap"), 0).operate(|_, _| p, None));
}

fn mixture(v: &Vector, margin: f64) -> Rule {
    Rule::Mixture {
        clear: Bar::new(v.number("q") - margin).unwrap(),
        fail: bar(v, "q"),
        e_clear: 1.0 / v.number("alpha"),
        e_fail: 1.0 / v.number("beta"),
    }
}

fn bools(v: &Vector, name: &str) -> Vec<bool> {
    v.numbers(name).iter().map(|&x| x == 1.0).collect()
}

formulas! { "../fixtures/vectors/stats.json";
    wilson_interval "wilson_interval" => |v| {
        let i = binomial::wilson(v.count("passes"), v.count("n"), level(v)).unwrap();
        v.expect(&[("lo", i.lo.into()), ("hi", i.hi.into())]);
    };
    clopper_pearson_two_sided "clopper_pearson_two_sided" => |v| {
        let i = binomial::clopper_pearson(v.count("passes"), v.count("n"), v.number("level")).unwrap();
        v.expect(&[("lo", i.lo.into()), ("hi", i.hi.into())]);
    };
    clopper_pearson_one_sided "clopper_pearson_one_sided" => |v| {
        let (s, n, level) = (v.count("passes"), v.count("n"), v.number("level"));
        v.expect(&[
            ("lower", binomial::lower_bound(s, n, level).into()),
            ("upper", binomial::upper_bound(s, n, level).into()),
        ]);
    };
    binomial_upper_tail "binomial_upper_tail" => |v| {
        v.expect(&[("p_value", binomial::upper_tail(v.count("passes"), v.count("n"), v.number("q")).into())]);
    };
    clustered_standard_error "clustered_standard_error" => |v| {
        let names: Vec<u64> = v.array("cluster").iter().map(|c| c.as_u64().unwrap()).collect();
        let e = cluster::standard_error(&v.numbers("x"), &names).unwrap();
        v.expect(&[("mean", e.mean.into()), ("se_iid", e.iid.into()), ("se_clustered", e.clustered.into())]);
    };
    splitmix64 "splitmix64" => |v| {
        let mut random = SplitMix64::new(v.count("seed"));
        let hex = (0..3).map(|_| format!("{:016x}", random.next_u64())).collect();
        v.expect(&[("first_three_hex", Got::Texts(hex))]);
    };
    bootstrap_percentile_nearest_rank "bootstrap_percentile_nearest_rank" => |v| {
        assert_eq!(v.count("resamples"), bootstrap::RESAMPLES as u64);
        let (data, seed) = (v.numbers("data"), v.count("seed"));
        let i = bootstrap::mean_interval(&data, 0.95, seed).unwrap();
        let mut means = Vec::new();
        bootstrap::interval(data.len(), 0.95, bootstrap::RESAMPLES, seed, |indices| {
            let m = indices.iter().map(|&i| data[i]).sum::<f64>() / indices.len() as f64;
            means.push(m);
            Some(m)
        });
        // The first call is the data themselves.
        v.expect(&[("lo", i.lo.into()), ("hi", i.hi.into()), ("bootstrap_mean", quantile::mean(&means[1..]).into())]);
    };
    mcnemar "mcnemar" => |v| {
        let m = compare::mcnemar(v.count("b"), v.count("c"));
        v.expect(&[("p_exact", m.p_exact.into()), ("p_mid", m.p_mid.into()), ("p_one_sided", m.p_one_sided.into())]);
    };
    paired_difference "paired_difference" => |v| {
        let d = compare::paired_difference(v.count("n"), v.count("b"), v.count("c"), level(v)).unwrap();
        let i = d.difference;
        v.expect(&[("d", i.value.into()), ("se", d.standard_error.into()), ("lo", i.lo.into()), ("hi", i.hi.into())]);
    };
    eprocess_grid_paired "eprocess_grid_paired" => |v| {
        assert_eq!(v.count("grid"), u64::from(eprocess::GRID));
        assert!((0.5 * (1.0 - v.number("margin")) - v.number("q")).abs() < 1e-12);
        let mut test = NonInferiority::new(v.number("margin")).unwrap();
        test.push_many(0.0, 1.0, v.count("count_y_0"));
        test.push_many(1.0, 0.0, v.count("count_y_1"));
        test.push_many(1.0, 1.0, v.count("count_y_half"));
        v.expect(&[("ln_e_plus", test.ln_e_plus().into())]);
    };
    eprocess_iid "eprocess_iid" => |v| {
        let (s, f, q) = (v.count("passes"), v.count("fails"), bar(v, "q"));
        let (plus, minus) = (eprocess::ln_e_plus(s, f, q), eprocess::ln_e_minus(s, f, q));
        v.expect(&[
            ("ln_e_plus", plus.into()),
            ("ln_e_minus", minus.into()),
            ("clears", (plus >= -v.number("alpha").ln()).into()),
            ("fails_bar", (minus >= -v.number("beta").ln()).into()),
        ]);
    };
    eprocess_grid "eprocess_grid" => |v| {
        let mut process = ScoreProcess::new(bar(v, "q"), u32::try_from(v.count("grid")).unwrap());
        if v.has("pattern") {
            for _ in 0..v.count("repeat") {
                v.numbers("pattern").iter().for_each(|&x| process.push(x));
            }
        } else {
            process.push_many(1.0, v.count("passes"));
            process.push_many(0.0, v.count("fails"));
        }
        v.expect(&[("ln_e_plus", process.ln_e_plus().into()), ("ln_e_minus", process.ln_e_minus().into())]);
    };
    ln_threshold "ln_threshold" => |v| {
        // A mixture rule clears exactly where its evidence reaches ln of the threshold.
        let threshold = v.number("threshold");
        let q = Bar::new(0.5).unwrap();
        let rule = Rule::Mixture { clear: q, fail: q, e_clear: threshold, e_fail: f64::INFINITY };
        for n in 1..20 {
            let clears = rule.look(n, 0) == sequential::Look::Clears;
            assert_eq!(clears, eprocess::ln_e_plus(n, 0, q) >= threshold.ln());
        }
        v.expect(&[("ln", threshold.ln().into())]);
    };
    eprocess_first_clear_all_pass "eprocess_first_clear_all_pass" => |v| {
        let at = |e: &f64| sequential::first_clear_all_pass(bar(v, "q"), *e, 1000).unwrap() as f64;
        v.expect(&[("n", Got::Numbers(v.numbers("thresholds").iter().map(at).collect()))]);
    };
    anytime_interval "anytime_interval" => |v| {
        let i = eprocess::anytime_interval(v.count("passes"), v.count("fails"), v.number("level")).unwrap();
        v.expect(&[("lo", i.lo.into()), ("hi", i.hi.into())]);
    };
    bernoulli_kl "bernoulli_kl" => |v| {
        v.expect(&[("kl", eprocess::bernoulli_kl(v.number("p"), bar(v, "q")).into())]);
    };
    items_still_needed "items_still_needed" => |v| {
        let items = eprocess::items_to_clear(v.count("passes"), v.count("fails"), bar(v, "q"), v.number("alpha"));
        v.expect(&[("items", items.into())]);
    };
    final_look "final_look" => |v| {
        let look = sequential::final_look(v.count("n_max"), bar(v, "q"), v.number("alpha"), v.number("threshold"));
        v.expect(&[("spent", look.spent.into()), ("s_fin", look.passes.into()), ("total", look.total.into())]);
    };
    operating_characteristic_mixture "operating_characteristic_mixture" => |v| operate(v, mixture(v, 0.0));
    operating_characteristic_csm "operating_characteristic_csm" => |v| {
        operate(v, Rule::Csm { bar: bar(v, "q"), e_clear: 1.0 / v.number("alpha"), e_fail: 1.0 / v.number("beta") });
    };
    operating_characteristic_sprt "operating_characteristic_sprt" => |v| {
        operate(v, Rule::Sprt(Sprt::new(bar(v, "p0"), bar(v, "p1"), v.number("alpha"), v.number("beta"))));
    };
    operating_characteristic_hoeffding "operating_characteristic_hoeffding" => |v| {
        operate(v, Rule::Hoeffding { bar: bar(v, "q"), alpha: v.number("alpha"), beta: v.number("beta") });
    };
    operating_characteristic_mixture_margin "operating_characteristic_mixture_margin" => |v| {
        operate(v, mixture(v, v.number("margin")));
    };
    power_mixture_with_final_look "power_mixture_with_final_look" => |v| {
        let (n_max, p) = (v.count("n_max"), v.number("p"));
        let alpha = v.number("alpha");
        let look = sequential::final_look(n_max, bar(v, "q"), alpha, 1.0 / alpha);
        assert_eq!(look.passes, Some(v.count("s_fin")));
        let o = Boundaries::of(&mixture(v, 0.0), n_max, 0).operate(|_, _| p, look.passes);
        v.expect(&[
            ("p_clears", o.p_clears.into()),
            ("p_fails", o.p_fails.into()),
            ("p_undecided", o.p_undecided.into()),
            ("mean_items", o.mean_items.into()),
        ]);
    };
    fixed_n_passes_needed "fixed_n_passes_needed" => |v| {
        v.expect(&[("passes", binomial::passes_needed(v.count("n"), v.number("q"), v.number("alpha")).into())]);
    };
    sprt_constants "sprt_constants" => |v| {
        let t = Sprt::new(bar(v, "p0"), bar(v, "p1"), v.number("alpha"), v.number("beta"));
        v.expect(&[
            ("accept", t.accept.into()),
            ("reject", t.reject.into()),
            ("step_pass", t.step_pass.into()),
            ("step_fail", t.step_fail.into()),
        ]);
    };
    empirical_bernstein_radius "empirical_bernstein_radius" => |v| {
        let data = v.numbers("data");
        v.expect(&[
            ("mean", quantile::mean(&data).into()),
            ("variance", quantile::variance(&data).into()),
            ("radius", sequential::empirical_bernstein_radius(&data, v.number("delta")).into()),
        ]);
    };
    eprocess_without_replacement "eprocess_without_replacement" => |v| {
        let (n, seen, s, q) = (v.count("suite"), v.count("seen"), v.count("passes"), bar(v, "q"));
        v.expect(&[
            ("ln_e_plus", suite::ln_e_plus(n, seen, s, q).into()),
            ("ln_e_minus", suite::ln_e_minus(n, seen, s, q).into()),
        ]);
    };
    operating_characteristic_without_replacement "operating_characteristic_without_replacement" => |v| {
        let (items, passes) = (v.count("suite"), v.count("suite_passes"));
        let rule = Rule::Suite {
            items,
            bar: bar(v, "q"),
            e_clear: 1.0 / v.number("alpha"),
            e_fail: 1.0 / v.number("beta"),
        };
        let draw = |seen: u64, s: u64| (passes - s) as f64 / (items - seen) as f64;
        operation(v, Boundaries::of(&rule, items, 0).operate(draw, None));
    };
    holm_adjusted "holm_adjusted" => |v| v.expect(&[("adjusted", Got::Numbers(compare::holm(&v.numbers("p"))))]);
    cascade "cascade" => |v| {
        let (g, y1, y2) = (v.numbers("g"), bools(v, "y1"), bools(v, "y2"));
        let items: Vec<cascade::Item> = (0..g.len())
            .map(|i| cascade::Item {
                confidence: g[i],
                weak_pass: y1[i],
                strong_pass: y2[i],
                weak_cost: v.number("c1"),
                strong_cost: v.number("c2"),
            })
            .collect();
        let point = cascade::evaluate(&items, v.number("tau")).unwrap();
        v.expect(&[
            ("accuracy", point.accuracy.into()),
            ("cost", point.cost.into()),
            ("deferral", point.deferral.into()),
        ]);
    };
    auroc "auroc" => |v| v.expect(&[("auroc", agreement::auroc(&v.numbers("g"), &bools(v, "y")).into())]);
    speculative_speedup "speculative_speedup" => |v| {
        let (a, g) = (v.number("acceptance"), u32::try_from(v.count("draft_len")).unwrap());
        v.expect(&[
            ("tokens_per_pass", sampling::tokens_per_pass(a, g).into()),
            ("speedup", sampling::speculative_speedup(a, g, v.number("cost_ratio")).into()),
        ]);
    };
    pass_at_k "pass_at_k" => |v| {
        v.expect(&[("pass_at_k", sampling::pass_at_k(v.count("n"), v.count("c"), v.count("k")).into())]);
    };
    kl_from_logits "kl_from_logits" => |v| {
        let token = usize::try_from(v.count("token")).unwrap();
        let p = fidelity::compare_logits(&v.numbers("base_logits"), &v.numbers("candidate_logits"), token).unwrap();
        v.expect(&[
            ("kl", p.kl.into()),
            ("nll_base", p.nll_base.into()),
            ("nll_candidate", p.nll_candidate.into()),
            ("dp", p.dp.into()),
        ]);
    };
    perplexity_with_uncertainty "perplexity_with_uncertainty" => |v| {
        let ppl = fidelity::perplexity(&v.numbers("nll")).unwrap();
        v.expect(&[("ppl", ppl.value.into()), ("uncertainty", ppl.error.into())]);
    };
    paired_log_ppl_ratio "paired_log_ppl_ratio" => |v| {
        let r = fidelity::ln_perplexity_ratio(&v.numbers("nll_candidate"), &v.numbers("nll_base")).unwrap();
        v.expect(&[("ln_ratio", r.value.into()), ("se", r.error.into()), ("ratio", r.value.exp().into())]);
    };
    rouge_l "rouge_l" => |v| {
        let o = rouge::rouge_l(v.text("reference"), v.text("prediction")).unwrap();
        v.expect(&[("precision", o.precision.into()), ("recall", o.recall.into()), ("f", o.f1.into())]);
    };
    cohen_kappa "cohen_kappa" => |v| {
        let row = |r: &serde_json::Value| r.as_array().unwrap().iter().map(|x| x.as_u64().unwrap()).collect();
        let table: Vec<Vec<u64>> = v.array("table").iter().map(row).collect();
        v.expect(&[("kappa", agreement::cohen_kappa(&table).into())]);
    };
}
