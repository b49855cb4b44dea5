//! Sequences against a model that copies everything, forks, limits.

use super::*;
use proptest::prelude::*;

fn shape() -> KvShape {
    KvShape { n_layer: 1, n_head_kv: 1, key: 32, value: 32, ty: KvType::F32 }
}

/// Writes a mark into the place of one position.
fn mark(cache: &KvCache, id: u32, pos: u32, value: f32) {
    let block = cache.blocks(id)[pos as usize / BLOCK];
    // SAFETY: inside the first panel; single-threaded.
    unsafe { *cache.head_ptr(block, 0, 0).cast::<f32>().add(pos as usize % BLOCK) = value };
}

fn marks(cache: &KvCache, id: u32) -> Vec<f32> {
    (0..cache.len(id).unwrap() as usize)
        .map(|pos| {
            let block = cache.blocks(id)[pos / BLOCK];
            // SAFETY: as above.
            unsafe { *cache.head_ptr(block, 0, 0).cast::<f32>().add(pos % BLOCK) }
        })
        .collect()
}

proptest! {
    /// Against a model that copies everything: sequences never see each other's writes, and no block leaks.
    #[test]
    fn sequences_behave_as_if_copied(steps in prop::collection::vec((0u8..5, 0u32..4, 0u32..100), 1..120)) {
        let (n_ctx, max) = (100, 4);
        let mut cache = KvCache::new(shape(), n_ctx, max).unwrap();
        let mut model: Vec<Option<Vec<f32>>> = vec![None; max as usize];
        let mut stamp = 0.0;
        for (what, id, n) in steps {
            let live = model[id as usize].is_some();
            match what {
                0 => match cache.create() {
                    Ok(new) => {
                        prop_assert!(model[new as usize].is_none());
                        model[new as usize] = Some(Vec::new());
                    }
                    Err(_) => prop_assert!(model.iter().all(Option::is_some)),
                },
                1 => match cache.fork(id) {
                    Ok(new) => model[new as usize] = model[id as usize].clone(),
                    Err(_) => prop_assert!(!live || model.iter().all(Option::is_some)),
                },
                2 => {
                    prop_assert_eq!(cache.truncate(id, n).is_ok(), live);
                    if let Some(sequence) = &mut model[id as usize] {
                        sequence.truncate(n as usize);
                    }
                }
                3 => {
                    prop_assert_eq!(cache.free(id).is_ok(), live);
                    model[id as usize] = None;
                }
                _ => {
                    for _ in 0..n {
                        match cache.append(id) {
                            Ok(pos) => {
                                stamp += 1.0;
                                mark(&cache, id, pos, stamp);
                                model[id as usize].as_mut().unwrap().push(stamp);
                            }
                            Err(_) => {
                                prop_assert!(model[id as usize].as_ref().is_none_or(|s| s.len() == n_ctx as usize));
                            }
                        }
                    }
                }
            }
            for (id, want) in model.iter().enumerate() {
                if let Some(want) = want {
                    prop_assert_eq!(&marks(&cache, id as u32), want);
                }
            }
        }
        for id in 0..max {
            drop(cache.free(id));
        }
        prop_assert!(cache.users.iter().all(|&n| n == 0));
        prop_assert_eq!(cache.free.len(), cache.fresh as usize);
    }
}

#[test]
fn a_fork_shares_whole_blocks_and_copies_only_the_one_it_writes() {
    let mut cache = KvCache::new(shape(), 100, 2).unwrap();
    let a = cache.create().unwrap();
    for _ in 0..70 {
        cache.append(a).unwrap();
    }
    let b = cache.fork(a).unwrap();
    assert_eq!(cache.blocks(a), cache.blocks(b));
    cache.append(b).unwrap();
    assert_eq!(cache.blocks(a)[..2], cache.blocks(b)[..2]);
    assert_ne!(cache.blocks(a)[2], cache.blocks(b)[2]);
}

#[test]
fn the_limits_are_errors() {
    let mut cache = KvCache::new(shape(), 2, 1).unwrap();
    let id = cache.create().unwrap();
    assert!(matches!(cache.create(), Err(EngineError::TooManySequences { max: 1 })));
    cache.append(id).unwrap();
    cache.append(id).unwrap();
    assert!(matches!(cache.append(id), Err(EngineError::ContextFull { needed: 3, n_ctx: 2 })));
    assert!(matches!(cache.truncate(7, 0), Err(EngineError::UnknownSequence(7))));
    let huge = KvShape { key: 1 << 40, ..shape() };
    assert!(KvCache::new(huge, 8192, 4).is_err());
}
