//! Phases that work along a row: embedding, norms, rotation.
#![expect(unsafe_code, reason = "threads write disjoint rows of shared planes between barriers")]

use super::{Inputs, Layer, Pass, quantize};
use crate::engine::native::attention;

impl Pass<'_> {
    /// Looks up a row's embedding and its angles.
    pub(super) fn embed(&self, row: usize) {
        let (weights, hp) = (&self.model.weights, &self.model.hp);
        // SAFETY: this thread alone works on this row until the next barrier.
        let (residual, angles) =
            unsafe { (self.residual.write(row, 0..hp.n_embd), self.angles.write(row, 0..hp.n_rot)) };
        // Tokens were checked against the vocabulary; a row of NaN is noticed if that was wrong.
        if weights.embed(self.tokens[row], residual).is_none() {
            residual.fill(f32::NAN);
        }
        if hp.embed_scale != 1.0 {
            residual.iter_mut().for_each(|x| *x *= hp.embed_scale);
        }
        let pos = self.all.places[row].pos;
        let (cos, sin) = angles.split_at_mut(hp.n_rot / 2);
        weights.rotation.angles(pos, cos, sin);
        if let Some(rotation) = &weights.windowed_rotation {
            // SAFETY: as above.
            let (cos, sin) = unsafe { self.windowed_angles.write(row, 0..hp.n_rot) }.split_at_mut(hp.n_rot / 2);
            rotation.angles(pos, cos, sin);
        }
    }

    /// Norms a row of the residual and quantizes it as row `to` of `inputs`.
    pub(super) fn norm_into(&self, row: usize, weight: &[f32], inputs: &Inputs, to: usize, normed: &mut [f32]) {
        // SAFETY: nobody writes the row before the next barrier; this thread alone converts it.
        unsafe {
            let x = self.residual.read(row, 0..self.model.hp.n_embd);
            self.model.ops.norm(x, weight, self.model.hp.norm_eps, normed);
            quantize(inputs, to, 0, normed);
        }
    }

    /// Adds a row of `added` to the residual after norming it, in models that do.
    pub(super) fn add_normed(&self, row: usize, weight: Option<&[f32]>) {
        let Some(weight) = weight else { return };
        // SAFETY: this thread alone works on this row until the next barrier.
        unsafe {
            let width = self.model.hp.n_embd;
            let added = self.added.write(row, 0..width);
            self.model.ops.norm_in_place(added, weight, self.model.hp.norm_eps);
            self.model.ops.add(self.residual.write(row, 0..width), added);
        }
    }

    /// Biases, head norms and rotation of a key/value head and its queries in one row; key and value go to the cache.
    pub(super) fn rotate_and_append(&self, il: usize, layer: &Layer, row: usize, head: usize) {
        let hp = &self.model.hp;
        let ops = self.model.ops;
        let group = hp.n_head / hp.n_head_kv;
        let angles = if hp.is_windowed(il) { self.windowed_angles } else { self.angles };
        let (keys, values) = (hp.n_head * hp.key, (hp.n_head + hp.n_head_kv) * hp.key);
        // SAFETY: angles are complete since an earlier barrier; the columns of this head's queries, key and value in this
        // row, and its place in the cache, are this thread's own.
        unsafe {
            let (cos, sin) = angles.read(row, 0..hp.n_rot).split_at(hp.n_rot / 2);
            let part = |start: usize, width: usize| {
                let x = self.qkv.write(row, start..start + width);
                if let Some(bias) = &layer.qkv_bias {
                    ops.add(x, &bias[start..start + width]);
                }
                x
            };
            for q in head * group..(head + 1) * group {
                let x = part(q * hp.key, hp.key);
                if let Some((norm, _)) = &layer.head_norms {
                    ops.norm_in_place(x, norm, hp.norm_eps);
                }
                ops.rotate(x, cos, sin, hp.attn_scale);
            }
            let key = part(keys + head * hp.key, hp.key);
            if let Some((_, norm)) = &layer.head_norms {
                ops.norm_in_place(key, norm, hp.norm_eps);
            }
            ops.rotate(key, cos, sin, 1.0);
            let value = part(values + head * hp.value, hp.value);
            attention::put(ops.level(), self.cache, il, head, self.all.places[row], key, value);
        }
    }

    /// Moves the residual and the queries of the rows in `last` to the first rows.
    pub(super) fn keep_wanted(&self) {
        let (embd, queries) = (self.model.hp.n_embd, self.model.hp.n_head * self.model.hp.key);
        for (to, &row) in self.wanted.iter().enumerate().filter(|&(to, &row)| to != row) {
            // SAFETY: all other threads wait for this one; a row moves to one before it, which was moved before or is not
            // wanted.
            unsafe {
                self.residual.write(to, 0..embd).copy_from_slice(self.residual.read(row, 0..embd));
                self.qkv.write(to, 0..queries).copy_from_slice(self.qkv.read(row, 0..queries));
            }
        }
    }
}
