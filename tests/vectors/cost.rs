//! `cost.json`: F1–F18 and the load models of the energy reference.

use tierbench::cost::breakeven::{self, Flip, FlipSide, OwnedMachine};
use tierbench::cost::date::Date;
use tierbench::cost::formula::{self, WallFit};
use tierbench::cost::gauge;
use tierbench::cost::trend::{self, Observation};
use tierbench::cost::uncertainty::{self, Combined};
use tierbench::energy::{self, estimate::LoadModel};
use tierbench::stats::binomial;
use tierbench::stats::distribution::{normal_quantile, student_quantile};
use tierbench::units::{Joules, JoulesPerToken, Seconds, TokensPerSec, Usd, UsdPerHour, UsdPerKwh, UsdPerMtok, Watts};

use crate::harness::{Got, Vector, formulas};

macro_rules! typed_inputs {
    ($($name:ident $unit:ident;)*) => { $(fn $name(v: &Vector, input: &str) -> $unit { $unit(v.number(input)) })* };
}
typed_inputs! {
    joules Joules;
    per_token JoulesPerToken;
    seconds Seconds;
    watts Watts;
    usd Usd;
    tariff UsdPerKwh;
    mtok UsdPerMtok;
    tps TokensPerSec;
}

fn date(text: &str) -> Date {
    text.parse().unwrap()
}

fn owned_machine(v: &Vector) -> OwnedMachine {
    OwnedMachine {
        capital: usd(v, "annual_capital"),
        maintenance: usd(v, "maintenance"),
        idle: watts(v, "p_idle_wall"),
        tariff: tariff(v, "price"),
        pue: v.number("pue"),
        rate: tps(v, "tps_out"),
        electricity: mtok(v, "elec_out"),
        off_when_idle: v.flag("off_when_idle"),
    }
}

formulas! { "../fixtures/vectors/cost.json";
    f1_counter_delta "F1" => |v| {
        let delta = gauge::counter_delta_uj(v.count("previous"), v.count("current"), v.count("range"));
        v.expect(&[("delta", delta.into())]);
    };
    f2_f3_energy_per_token "F2,F3" => |v| {
        let phase = |energy: &str, time: &str, requests: &str, tokens: u64| {
            let (total, t, r) = (joules(v, energy), seconds(v, time), v.count(requests));
            let marginal = formula::marginal_energy(total, watts(v, "p_idle"), t);
            let each = |e: Joules| formula::energy_per_token(e, r, tokens).unwrap().0;
            (each(total), each(marginal), (r * tokens) as f64 / t.0)
        };
        let input = phase("e_pre", "t_pre", "r_pre", v.count("n_in"));
        let output = phase("e_dec", "t_dec", "r_dec", v.count("n_out") - 1);
        v.expect(&[
            ("e_in_total", input.0.into()),
            ("e_in_marginal", input.1.into()),
            ("tps_in", input.2.into()),
            ("e_out_total", output.0.into()),
            ("e_out_marginal", output.1.into()),
            ("tps_out", output.2.into()),
        ]);
    };
    f4_decode_by_difference "F4" => |v| {
        let generation = (joules(v, "e_gen"), joules(v, "u_gen"));
        let prefill = (joules(v, "e_pre"), joules(v, "u_pre"));
        let (e, u) = formula::decode_by_difference(generation, prefill, v.count("r"), v.count("n_out")).unwrap();
        v.expect(&[("e_out", e.0.into()), ("u_e_out", u.0.into())]);
    };
    f5_wall_fit "F5" => |v| {
        let points: Vec<_> = v.numbers("parts").into_iter().map(Watts).zip(v.numbers("wall").into_iter().map(Watts)).collect();
        let fit = WallFit::fit(&points).unwrap();
        let query = fit.wall(watts(v, "parts_query"));
        v.expect(&[("a", fit.a.0.into()), ("b", fit.b.into()), ("wall_query", query.0.into())]);
    };
    f5_f3_wall_energy "F5,F3" => |v| {
        let wall =
            formula::wall_energy(joules(v, "e_parts"), watts(v, "p_rest"), seconds(v, "t"), v.number("eta_psu")).unwrap();
        let out = formula::energy_per_token(wall, v.count("r"), v.count("n_out") - 1).unwrap();
        v.expect(&[("e_wall", wall.0.into()), ("e_out_wall", out.0.into())]);
    };
    f6_f10_electricity_and_carbon "F6,F10" => |v| {
        let (p, pue) = (tariff(v, "price"), v.number("pue"));
        let input = formula::electricity(per_token(v, "e_in"), p, pue);
        let output = formula::electricity(per_token(v, "e_out"), p, pue);
        let blend = formula::blend(input, output, v.number("w_in"), v.number("w_out")).unwrap();
        assert_eq!(blend, formula::blend_3_1(input, output));
        v.expect(&[
            ("elec_in", input.0.into()),
            ("elec_out", output.0.into()),
            ("elec_blend_3_1", blend.0.into()),
            ("energy_out", formula::kwh_per_mtok(per_token(v, "e_out")).into()),
            ("co2_out", formula::carbon_g_per_mtok(per_token(v, "e_out"), pue, v.number("grid_intensity")).into()),
        ]);
    };
    f7_to_f10_full_cost "F7,F8,F9,F10" => |v| {
        let (p, pue, u) = (tariff(v, "price"), v.number("pue"), v.number("utilisation"));
        let capital = formula::capital_straight_line(usd(v, "capital"), usd(v, "salvage"), v.number("life")).unwrap();
        let hour = formula::capital_per_busy_hour(capital, usd(v, "maintenance"), u).unwrap();
        let idle = formula::idle_per_busy_hour(watts(v, "p_idle_wall"), p, pue, u).unwrap();
        let part = |hourly: UsdPerHour, rate: &str| formula::hourly_per_mtok(hourly, tps(v, rate)).unwrap();
        let elec = |e: &str| formula::electricity(per_token(v, e), p, pue);
        let full_in = elec("e_in") + part(hour + idle, "tps_in");
        let full_out = elec("e_out") + part(hour + idle, "tps_out");
        let blend = formula::blend(full_in, full_out, v.number("w_in"), v.number("w_out")).unwrap();
        v.expect(&[
            ("annual_capital", capital.0.into()),
            ("capital_per_busy_hour", hour.0.into()),
            ("idle_per_busy_hour", idle.0.into()),
            ("capital_out", part(hour, "tps_out").0.into()),
            ("idle_out", part(idle, "tps_out").0.into()),
            ("elec_out", elec("e_out").0.into()),
            ("full_out", full_out.0.into()),
            ("full_in", full_in.0.into()),
            ("full_blend_3_1", blend.0.into()),
        ]);
    };
    f7_capital "F7" => |v| {
        let busy = |capital: Usd| {
            formula::capital_per_busy_hour(capital, usd(v, "maintenance"), v.number("utilisation")).unwrap().0
        };
        if v.has("resale_now") {
            let (now, end) = (usd(v, "resale_now"), usd(v, "resale_end"));
            let capital = formula::capital_straight_line(now, end, v.number("remaining")).unwrap();
            v.expect(&[("annual_capital", capital.0.into()), ("capital_per_busy_hour", busy(capital).into())]);
        } else {
            let (life, rate) = (v.number("life"), v.number("discount_rate"));
            let capital = formula::capital_annuity(usd(v, "capital"), usd(v, "salvage"), life, rate).unwrap();
            v.expect(&[
                ("crf", formula::capital_recovery(rate, life).into()),
                ("annual_capital", capital.0.into()),
                ("capital_per_busy_hour", busy(capital).into()),
            ]);
        }
    };
    f8_idle_identity "F8" => |v| {
        let (e, idle, t, u) = (joules(v, "e"), watts(v, "p_idle"), seconds(v, "t"), v.number("utilisation"));
        let marginal = formula::marginal_energy(e, idle, t);
        v.expect(&[
            ("total_plus_idle", formula::with_idle_of_total(e, idle, t, u).unwrap().0.into()),
            ("marginal_plus_idle", formula::with_idle_of_marginal(marginal, idle, t, u).unwrap().0.into()),
        ]);
    };
    f9_rent "F9" => |v| {
        let hour = formula::rent_per_busy_hour(UsdPerHour(v.number("rate")), v.number("rental_utilisation")).unwrap();
        v.expect(&[("full_out", formula::hourly_per_mtok(hour, tps(v, "tps_out")).unwrap().0.into())]);
    };
    f11_task_and_solved "F11" => |v| {
        let task = formula::cost_per_task(v.number("n_in"), v.number("n_out"), mtok(v, "c_in"), mtok(v, "c_out"));
        let solved = formula::cost_per_1000_solved(task, v.number("accuracy"), usd(v, "failure_cost")).unwrap();
        v.expect(&[("cost_per_task", task.0.into()), ("cost_per_1000_solved", solved.0.into())]);
    };
    f12_f11_cascade "F12,F11" => |v| {
        let cascade = formula::Cascade {
            first: usd(v, "c_1"),
            second: usd(v, "c_2"),
            accepted: v.number("accepted_share"),
            precision: v.number("precision_1"),
            deferred_accuracy: v.number("accuracy_2"),
        };
        let solved = formula::cost_per_1000_solved(cascade.cost(), cascade.accuracy(), Usd(0.0)).unwrap();
        v.expect(&[
            ("cost_per_task", cascade.cost().0.into()),
            ("accuracy", cascade.accuracy().into()),
            ("cost_per_1000_solved", solved.0.into()),
        ]);
    };
    f13_break_even "F13" => |v| {
        let api = mtok(v, "api_price");
        if !v.has("annual_capital") {
            let e = breakeven::break_even_energy(api, tariff(v, "price"), v.number("pue")).unwrap();
            return v.expect(&[("e_star", e.0.into())]);
        }
        let machine = owned_machine(v);
        let at = machine.break_even(api);
        let utilization: Got = at.map(|b| b.utilization).into();
        if v.expects("tokens_per_day") {
            let b = at.unwrap();
            v.expect(&[
                ("fixed_per_hour", machine.fixed_per_hour().0.into()),
                ("idle_per_hour", machine.idle_per_hour().0.into()),
                ("u_star", utilization),
                ("tokens_per_day", b.tokens_per_day.into()),
                ("full_out_at_u_star", machine.cost_at(b.utilization).unwrap().0.into()),
            ]);
        } else {
            v.expect(&[("u_star", utilization)]);
        }
    };
    f14_tariff_flip "F14" => |v| {
        let hour = UsdPerHour(v.number("hourly"));
        let side = |e: &str, rate: &str| FlipSide {
            hardware: formula::hourly_per_mtok(hour, tps(v, rate)).unwrap(),
            energy: per_token(v, e),
        };
        let (a, b) = (side("e_a", "tps_a"), side("e_b", "tps_b"));
        let Flip::At { tariff, first_below } = breakeven::tariff_flip(a, b, v.number("pue")) else {
            panic!("{}: no flip", v.id())
        };
        assert!(!first_below, "B is cheaper below it");
        v.expect(&[("k_a", a.hardware.0.into()), ("k_b", b.hardware.0.into()), ("price_star", tariff.0.into())]);
    };
    f15_combined_uncertainty "F15" => |v| {
        let tick = seconds(v, "tick");
        if v.has("target_rel") {
            let target = v.number("target_rel");
            return v.expect(&[
                ("window", uncertainty::shortest_window(tick, target).unwrap().0.into()),
                ("window_worst_case", uncertainty::shortest_window_worst_case(tick, target).unwrap().0.into()),
            ]);
        }
        let u = Combined::of(&v.numbers("samples"), v.number("sensor_bound"), tick, seconds(v, "window")).unwrap();
        v.expect(&[
            ("mean", u.mean.into()),
            ("s", u.stddev.into()),
            ("u_a", u.u_a.into()),
            ("t95_half_width", u.t95_half_width.into()),
            ("u_b", u.u_b.into()),
            ("u_q", u.u_q.into()),
            ("u_c", u.u_c.into()),
            ("u_expanded_k2", u.expanded().into()),
            ("u_expanded_rel", (u.expanded() / u.mean).into()),
        ]);
    };
    f16_cost_per_solved "F16" => |v| {
        assert!((normal_quantile(0.975).unwrap() - v.number("z")).abs() < 1e-12);
        let (s, n) = (v.count("correct"), v.count("items"));
        let wilson = binomial::wilson(s, n, 0.95).unwrap();
        let solved = uncertainty::per_solved(usd(v, "cost_per_task"), v.number("u_rel_cost"), s, n, 0.95).unwrap();
        v.expect(&[
            ("wilson_lo", wilson.lo.into()),
            ("wilson_hi", wilson.hi.into()),
            ("u_rel_accuracy", solved.u_rel_accuracy.into()),
            ("u_rel", solved.u_rel.into()),
            ("cost_per_1000_solved", solved.interval.value.into()),
            ("lo", solved.interval.lo.into()),
            ("hi", solved.interval.hi.into()),
        ]);
    };
    f17_trapezoid "F17" => |v| {
        let (t, power) = (v.numbers("t"), v.numbers("power"));
        let (first, last) = (t[0], t[t.len() - 1]);
        let samples: Vec<_> = t.into_iter().zip(power).collect();
        v.expect(&[("energy", energy::trapezoid(&samples, first, last).into())]);
    };
    f18_price_trend "F18" => |v| {
        if v.has("dates") {
            // The file's own quantile is exact to 4e-11 only.
            assert!((student_quantile(0.975, 2.0).unwrap() - v.number("t_quantile_975_df2")).abs() < 1e-9);
            let days = v.array("dates").iter().map(|d| date(d.as_str().unwrap()));
            let series: Vec<_> =
                days.zip(v.numbers("prices")).map(|(date, price)| Observation { date, price }).collect();
            let t = trend::trend(&series).unwrap();
            return v.expect(&[
                ("kept", (t.kept.len() as u64).into()),
                ("slope", t.line.slope.into()),
                ("intercept", t.line.intercept.into()),
                ("slope_se", t.line.slope_error.into()),
                ("factor_per_year", t.factor_per_year.value.into()),
                ("factor_lo", t.factor_per_year.lo.into()),
                ("factor_hi", t.factor_per_year.hi.into()),
                ("halving", t.halving_years.into()),
            ]);
        }
        let at = |day: &str, price: &str| Observation { date: date(v.text(day)), price: v.number(price) };
        let fall = trend::fall(at("date_0", "price_0"), at("date_1", "price_1")).unwrap();
        v.expect(&[
            ("factor", fall.factor.into()),
            ("days", (fall.days as f64).into()),
            ("factor_per_year", fall.factor_per_year.into()),
            ("halving", fall.halving_days.into()),
            (
                "factor_per_year_if_claimed_span",
                trend::factor_per_year(fall.factor, v.number("claimed_span") / 12.0).into(),
            ),
        ]);
    };
    load_models "section 1.6" => |v| {
        let load = v.number("load");
        let power = if v.has("tdp") {
            Watts(LoadModel::CodeCarbon { tdp_w: v.number("tdp") }.watts(load))
        } else {
            let vcpus = u32::try_from(v.count("vcpus")).unwrap();
            gauge::vcpu_load_power(vcpus, watts(v, "min"), watts(v, "max"), load)
        };
        v.expect(&[("power", power.0.into())]);
    };
    wrap_period "section 1.1" => |v| {
        v.expect(&[("wrap_period", gauge::wrap_period(v.count("range"), watts(v, "power")).unwrap().0.into())]);
    };
}
