//! What must not change a bit: threads, batches, company, which rows want logits. And nothing is read or written outside
//! the buffers.

use super::*;

#[test]
fn threads_and_batches_do_not_change_a_bit() {
    let isas = kernels::Isa::ALL.into_iter().filter(|isa| isa.is_available() && *isa != kernels::Isa::Amx);
    for isa in isas {
        for shape in shapes() {
            let ids = tokens(300, shape.n_vocab);
            let configured = |threads| EngineConfig { isa: Some(isa.name().to_owned()), ..config(threads) };
            let expected = run(&mut shape.load(&configured(1)), &ids, &[1]);
            for (threads, sizes) in [(1, vec![300]), (2, vec![1]), (2, vec![300]), (3, vec![7, 90, 1, 33])] {
                let got = run(&mut shape.load(&configured(threads)), &ids, &sizes);
                assert!(got == expected, "{isa} {shape:?} on {threads} threads in batches of {sizes:?}");
            }
        }
    }
}

#[test]
fn logits_do_not_depend_on_which_rows_want_them() {
    let isas = kernels::Isa::ALL.into_iter().filter(|isa| isa.is_available() && *isa != kernels::Isa::Amx);
    for isa in isas {
        for shape in shapes() {
            let ids = tokens(290, shape.n_vocab);
            let mut engine = shape.load(&EngineConfig { isa: Some(isa.name().to_owned()), ..config(2) });
            let all = run(&mut engine, &ids, &[290]);
            for wanted in [vec![289], vec![3, 4, 5, 270], (0..70).collect(), vec![]] {
                let seq = engine.sequence().unwrap();
                let mut batch = Batch::new();
                ids.iter().zip(0..).for_each(|(&id, pos)| batch.push(id, seq, pos, wanted.contains(&pos)));
                let logits = engine.forward(&batch).unwrap();
                for (i, &pos) in wanted.iter().enumerate() {
                    let expected = &all[pos as usize * shape.n_vocab..][..shape.n_vocab];
                    assert!(logits.row(i).unwrap() == expected, "{isa} {shape:?}: row {pos} of {wanted:?}");
                }
                engine.free(seq).unwrap();
            }
        }
    }
}

/// Weights, activations, scratch and the cache end, or begin, at a page that faults; every instruction set, format of
/// activations and of the cache, many rows and one, more than a span and a block that is not full.
#[cfg(unix)]
#[test]
fn nothing_outside_the_buffers_is_touched() {
    use kernels::guard::{self, Side};
    for side in [Side::Before, Side::After] {
        guard::with(side, || {
            for isa in kernels::Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
                for (shape, activations) in shapes().iter().zip(["q8", "q16", "f32"].into_iter().cycle()) {
                    for kv in ["f16", "f32", "q8_0"] {
                        let ids = tokens(275, shape.n_vocab);
                        let config = EngineConfig {
                            isa: Some(isa.name().to_owned()),
                            activations: Some(activations.to_owned()),
                            kv_type: Some(kv.to_owned()),
                            n_ctx: 275,
                            max_seqs: 1,
                            ..config(2)
                        };
                        let logits = run(&mut shape.load(&config), &ids, &[1, 20, 3, 240, 1]);
                        assert!(logits.iter().all(|x| x.is_finite()));
                    }
                }
            }
        });
    }
}

#[test]
fn sequences_in_one_batch_do_not_see_each_other() {
    let shape = Shape::default();
    let mut engine = shape.load(&EngineConfig { isa: Some("portable".into()), ..config(2) });
    let ids = tokens(90, shape.n_vocab);
    let expected = run(&mut engine, &ids, &[90]);
    let (a, b) = (engine.sequence().unwrap(), engine.sequence().unwrap());
    let mut batch = Batch::new();
    batch.extend(&ids[..70], a, 0, false);
    engine.forward(&batch).unwrap();
    let c = engine.fork(a).unwrap();
    // Three sequences, interleaved: the rest of `a`, something else in `b`, and the rest of `c` one token late.
    batch.clear();
    for i in 70..90 {
        batch.push(ids[i], a, i as u32, true);
        batch.push(ids[i - 60], b, i as u32 - 70, false);
        batch.push(ids[i], c, i as u32, true);
    }
    let logits = engine.forward(&batch).unwrap();
    for (i, row) in expected.chunks(shape.n_vocab).skip(70).enumerate() {
        assert_eq!(logits.row(2 * i).unwrap(), row);
        assert_eq!(logits.row(2 * i + 1).unwrap(), row);
    }
}
