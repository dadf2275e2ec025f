//! Kernels for AArch64, where NEON is always there. Not verified: written without such a CPU at hand; the
//! tests in this folder compare them with the portable ones on any that runs them.

use super::{Kernels, PORTABLE};
use std::arch::aarch64::*;

const LANES: usize = 4;

const NEON: Kernels = Kernels {
    name: "neon",
    l2_squared,
    dot,
    l1,
    dot_u1_i8: dot_packed::<1>,
    dot_u2_i8: dot_packed::<2>,
    dot_u4_i8: dot_packed::<4>,
    ..PORTABLE
};

pub(super) fn available() -> Vec<&'static Kernels> {
    vec![&NEON]
}

/// Sums `step` over whole registers in four independent chains, then `rest` over the tail.
macro_rules! f32_kernel {
    ($name:ident, |$acc:ident, $x:ident, $y:ident| $step:expr, |$p:ident, $q:ident| $rest:expr) => {
        #[target_feature(enable = "neon")]
        fn $name(a: &[f32], b: &[f32]) -> f32 {
            let len = a.len().min(b.len());
            let whole = len - len % LANES;
            let mut sums = [vdupq_n_f32(0.0); 4];
            for (turn, at) in (0..whole).step_by(LANES).enumerate() {
                // SAFETY: at + LANES <= whole <= both lengths; the loads need no alignment.
                let ($x, $y) = unsafe { (vld1q_f32(a.as_ptr().add(at)), vld1q_f32(b.as_ptr().add(at))) };
                let $acc = sums[turn % 4];
                sums[turn % 4] = $step;
            }
            let sum = vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3]));
            let tail: f32 = a[whole..len].iter().zip(&b[whole..len]).map(|($p, $q)| $rest).sum();
            vaddvq_f32(sum) + tail
        }
    };
}

f32_kernel!(
    l2_squared,
    |acc, x, y| {
        let difference = vsubq_f32(x, y);
        vfmaq_f32(acc, difference, difference)
    },
    |p, q| (p - q) * (p - q)
);
f32_kernel!(dot, |acc, x, y| vfmaq_f32(acc, x, y), |p, q| p * q);
f32_kernel!(l1, |acc, x, y| vaddq_f32(acc, vabdq_f32(x, y)), |p, q| (p - q).abs());

#[target_feature(enable = "neon")]
fn dot_packed<const WIDTH: i32>(plane: &[u8], query: &[i8]) -> i32 {
    const STEP: usize = 16;
    let len = plane.len().min(query.len() * WIDTH as usize / 8);
    let whole = len - len % STEP;
    let mask = vdupq_n_u8((1 << WIDTH) - 1);
    let mut sum = vdupq_n_s32(0);
    for at in (0..whole).step_by(STEP) {
        // SAFETY: at + STEP <= whole <= the plane's length; the load needs no alignment.
        let mut bytes = unsafe { vld1q_u8(plane.as_ptr().add(at)) };
        for stretch in 0..8 / WIDTH as usize {
            // SAFETY: each stretch of the query is as long as the plane.
            let y = unsafe { vld1q_s8(query.as_ptr().add(stretch * len + at)) };
            // Below 16, so the sign does not matter.
            let x = vreinterpretq_s8_u8(vandq_u8(bytes, mask));
            sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(x), vget_low_s8(y)));
            sum = vpadalq_s16(sum, vmull_high_s8(x, y));
            bytes = vshrq_n_u8::<WIDTH>(bytes);
        }
    }
    vaddvq_s32(sum) + super::portable::dot_packed_from::<WIDTH>(&plane[..len], query, whole)
}
